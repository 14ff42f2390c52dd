//! The GenAI metrics under both versions of their names.

use serde_json::json;
use tests::collector::{Attributes, MetricPoints, Received};

use super::exporting::{WORD, answer, start_exporting};
use crate::stack::chat;

/// Exports the metrics of one streamed turn, until `last` has arrived.
async fn measured(more: &[(&str, &str)], last: &'static str) -> Received {
    let (collector, _model, sidecar) = start_exporting(more).await;
    let request = chat(&answer(), &json!({"stream": true}));
    let mut connection = sidecar.connect().await;
    let response = connection.send(request).await;
    let status = response.expect("a response arrives").status;
    assert_eq!(status, 200);
    let received = collector
        .wait_until(|received| received.metrics.contains_key(last))
        .await;
    assert!(!received.contains(WORD));
    received
}

/// The only point of a metric, or the one with this attribute.
#[track_caller]
fn point<'a>(received: &'a Received, name: &str, only: Option<(&str, &str)>) -> &'a MetricPoints {
    let points = &received.metrics[name];
    let wanted =
        |attributes: &Attributes| only.is_none_or(|(name, value)| attributes[name] == value);
    let mut found = points.iter().filter(|point| wanted(&point.attributes));
    let point = found.next().unwrap_or_else(|| panic!("{points:#?}"));
    assert!(found.next().is_none(), "{points:#?}");
    point
}

fn keys(point: &MetricPoints) -> Vec<&str> {
    point.attributes.keys().map(String::as_str).collect()
}

#[tokio::test]
async fn default_names_are_those_of_version_1_36() {
    let received = measured(&[], "gen_ai.client.token.usage").await;
    let names: Vec<_> = received.metrics.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "gen_ai.client.operation.duration",
            "gen_ai.client.token.usage",
            "gen_ai.server.time_per_output_token",
            "gen_ai.server.time_to_first_token",
        ]
    );
    for (kind, tokens) in [("input", 100.0), ("output", 20.0)] {
        let only = Some(("gen_ai.token.type", kind));
        let usage = point(&received, "gen_ai.client.token.usage", only);
        assert_eq!((usage.count, usage.sum), (1, tokens));
        assert_eq!(usage.boundaries[..3], [1.0, 4.0, 16.0]);
        assert_eq!(
            keys(usage),
            [
                "gen_ai.operation.name",
                "gen_ai.provider.name",
                "gen_ai.request.model",
                "gen_ai.response.model",
                "gen_ai.system",
                "gen_ai.token.type",
            ]
        );
    }
    let duration = point(&received, "gen_ai.client.operation.duration", None);
    assert_eq!(duration.boundaries[13], 81.92);
    let first = point(&received, "gen_ai.server.time_to_first_token", None);
    assert_eq!(first.boundaries[0], 0.001);
    assert!(first.sum <= duration.sum);
    let token = point(&received, "gen_ai.server.time_per_output_token", None);
    assert_eq!(token.boundaries[12], 2.5);
    let rest = (duration.sum - first.sum) / 19.0;
    assert!(
        (token.sum - rest).abs() < 1e-6,
        "{} is not {rest}",
        token.sum
    );
}

#[tokio::test]
async fn opt_in_selects_the_renamed_metrics() {
    let opt_in = [(
        "OTEL_SEMCONV_STABILITY_OPT_IN",
        "gen_ai_latest_experimental",
    )];
    let received = measured(&opt_in, "gen_ai.client.inference.duration").await;
    let prefix = "gen_ai.client.inference.";
    assert!(received.metrics.keys().all(|name| name.starts_with(prefix)));
    for (name, tokens) in [
        ("usage.input_tokens", 100.0),
        ("usage.output_tokens", 20.0),
        ("usage.cache_read.input_tokens", 40.0),
        ("usage.reasoning.output_tokens", 5.0),
    ] {
        let used = point(&received, &format!("{prefix}{name}"), None);
        assert_eq!(used.sum, tokens, "{name}");
        assert_eq!(used.attributes["gen_ai.token.modality"], "unknown");
        assert!(!used.attributes.contains_key("gen_ai.system"));
    }
    for (name, tokens) in [
        ("operation.input_tokens", 100.0),
        ("operation.output_tokens", 20.0),
    ] {
        let used = point(&received, &format!("{prefix}{name}"), None);
        assert_eq!((used.count, used.sum), (1, tokens), "{name}");
    }
    for name in ["duration", "time_to_first_chunk", "time_per_output_chunk"] {
        let time = point(&received, &format!("{prefix}{name}"), None);
        assert_eq!(time.boundaries[0], 0.01, "{name}");
        assert!(time.count >= 1, "{name}");
    }
}
