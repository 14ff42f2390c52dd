//! Spans of requests and turns: parents, attributes, sampling, errors, and no content.

use http::Request;
use serde_json::{Value, json};
use tests::collector::{Received, SpanRecord};
use tests::http::{Body, get, with};

use super::exporting::{WORD, answer, start_exporting};
use crate::stack::{chat, stream};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// A chat as a child of the caller's span.
fn traced(script: &Value, more: &Value, flags: &str) -> Request<Body> {
    let parent = format!("00-{TRACE}-{CALLER}-{flags}");
    let request = with(chat(script, more), "traceparent", &parent);
    with(request, "tracestate", "vendor=1")
}

/// The first span with a name that starts with `name`.
#[track_caller]
fn named<'a>(received: &'a Received, name: &str) -> &'a SpanRecord {
    let mut spans = received.spans.iter();
    spans
        .find(|span| span.name.starts_with(name))
        .unwrap_or_else(|| panic!("{name} is missing: {:#?}", received.spans))
}

fn has(name: &'static str) -> impl Fn(&Received) -> bool {
    move |received| {
        let mut spans = received.spans.iter();
        spans.any(|span| span.name.starts_with(name))
    }
}

#[tokio::test]
async fn turn_is_a_client_span_under_the_request_under_the_caller() {
    let more = [
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-collector-key=abc%20d"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "deployment.environment.name=test",
        ),
    ];
    let (collector, _model, sidecar) = start_exporting(&more).await;
    let names = json!({"stream": true, "prompt_cache_key": "the-conversation", "user": WORD});
    let request = traced(&answer(), &names, "01");
    let mut client = sidecar.connect().await;
    let response = client.send(request).await.unwrap();
    assert!(String::from_utf8_lossy(&response.body).contains(WORD));
    let received = collector.wait_until(has("POST ")).await;

    let request = named(&received, "POST /v1/chat/completions");
    assert_eq!(
        (request.trace.as_str(), request.parent.as_str()),
        (TRACE, CALLER)
    );
    assert_eq!(
        (request.kind, request.is_error),
        ("SPAN_KIND_SERVER", false)
    );
    assert_eq!(request.state, "vendor=1");
    assert_eq!(request.service, "codex-edge");
    assert_eq!(request.resource["deployment.environment.name"], "test");
    assert_eq!(
        json!(request.attributes),
        json!({
            "http.request.method": "POST", "http.route": "/v1/chat/completions", "url.scheme": "http",
            "http.response.status_code": 200,
        })
    );

    let turn = named(&received, "chat codex-5");
    assert_eq!(
        (turn.trace.as_str(), turn.parent.as_str()),
        (TRACE, request.id.as_str())
    );
    assert_eq!((turn.kind, turn.is_error), ("SPAN_KIND_CLIENT", false));
    let mut attributes = turn.attributes.clone();
    let first_chunk = attributes
        .remove("gen_ai.response.time_to_first_chunk")
        .unwrap();
    let seconds = first_chunk.as_f64().unwrap();
    #[expect(clippy::cast_precision_loss, reason = "the span is short")]
    let duration = turn.nanos as f64 / 1e9;
    assert!(
        0.0 < seconds && seconds <= duration,
        "{seconds} of {duration}"
    );
    let model = attributes.remove("gen_ai.response.model").unwrap();
    assert!(model.as_str().unwrap().starts_with("gpt-"), "{model}");
    assert_eq!(
        json!(attributes),
        json!({
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.system": "openai",
            "gen_ai.request.model": "codex-5",
            "gen_ai.request.stream": true,
            "gen_ai.conversation.id": "the-conversation",
            "gen_ai.response.finish_reasons": ["stop"],
            "gen_ai.usage.input_tokens": 100,
            "gen_ai.usage.output_tokens": 20,
            "gen_ai.usage.cache_read.input_tokens": 40,
            "gen_ai.usage.reasoning.output_tokens": 5,
        })
    );
    let sent = &received.raw[0].0;
    assert_eq!(sent.headers["x-collector-key"], "abc d");
    assert_eq!(sent.headers["content-encoding"], "gzip");
    assert!(!received.contains(WORD));
}

#[tokio::test]
async fn malformed_traceparent_starts_a_trace_of_its_own() {
    let (collector, _model, sidecar) = start_exporting(&[]).await;
    let mut client = sidecar.connect().await;
    for traceparent in [
        "00-abc-def-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ] {
        let request = with(get("/v1/models"), "traceparent", traceparent);
        assert_eq!(client.send(request).await.unwrap().status, 200);
    }
    // Probes have no spans.
    client.send(get("/healthz")).await.unwrap();
    client
        .send(get(&format!("/{WORD}?q={WORD}")))
        .await
        .unwrap();
    let received = collector
        .wait_until(|received| received.spans.len() >= 3)
        .await;
    for span in &received.spans {
        assert_eq!((span.parent.as_str(), span.trace.len()), ("", 32));
    }
    assert_ne!(received.spans[0].trace, received.spans[1].trace);
    let names: Vec<_> = received.spans.iter().map(|span| &*span.name).collect();
    assert_eq!(&names[..2], ["GET /v1/models", "GET /v1/models"]);
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(!received.contains(WORD));
}

#[tokio::test]
async fn sampling_follows_the_caller_and_the_ratio() {
    let (collector, _model, sidecar) = start_exporting(&[]).await;
    let mut client = sidecar.connect().await;
    client
        .send(traced(&answer(), &json!({}), "00"))
        .await
        .unwrap();
    // A later span shows that the queue has passed the unsampled turn.
    client.send(get("/v1/models")).await.unwrap();
    let received = collector.wait_until(has("GET ")).await;
    assert_eq!(received.spans.len(), 1, "{:#?}", received.spans);
    let counted = |received: &Received| received.metrics.contains_key("gen_ai.client.token.usage");
    collector.wait_until(counted).await;

    let sampler = [
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0"),
    ];
    let (collector, _model, sidecar) = start_exporting(&sampler).await;
    let mut client = sidecar.connect().await;
    client.send(get("/v1/models")).await.unwrap();
    client
        .send(traced(&answer(), &json!({}), "01"))
        .await
        .unwrap();
    let received = collector.wait_until(has("POST ")).await;
    assert!(received.spans.iter().all(|span| span.trace == TRACE));
}

#[tokio::test]
async fn failed_turn_has_its_error_type_and_status() {
    let (collector, _model, sidecar) = start_exporting(&[]).await;
    let script =
        json!({"status": 400, "error": {"type": "invalid_request_error", "message": WORD}});
    let mut client = sidecar.connect().await;
    let response = client
        .send(traced(&script, &json!({}), "01"))
        .await
        .unwrap();
    assert_eq!(response.status, 400);
    let code = response.json()["error"]["code"].clone();
    let received = collector.wait_until(has("POST ")).await;
    let turn = named(&received, "chat codex-5");
    assert!(turn.is_error);
    assert_eq!(turn.attributes["error.type"], code);
    assert!(!turn.attributes.contains_key("gen_ai.usage.input_tokens"));
    let request = named(&received, "POST ");
    assert!(
        !request.is_error,
        "a status of 400 is an error of the client"
    );
    assert_eq!(request.attributes["http.response.status_code"], 400);
    assert!(!received.contains(WORD));
}

#[tokio::test]
async fn disconnect_ends_both_spans_with_client_left() {
    let (collector, _model, sidecar) = start_exporting(&[]).await;
    let mut events = stream(&sidecar, json!([{"text": "a"}, {"hold": "for ever"}])).await;
    events.next_json().await;
    drop(events);
    let both = |received: &Received| has("POST ")(received) && has("chat ")(received);
    let received = collector.wait_until(both).await;
    for span in &received.spans {
        assert!(span.is_error, "{span:#?}");
        assert_eq!(span.attributes["error.type"], "client_left");
    }
}
