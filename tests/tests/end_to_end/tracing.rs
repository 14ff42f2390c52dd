//! One trace across the caller, Envoy with its own tracer, the sidecar and the turn. Follows `deploy/tracing/`.

use std::fs;

use serde_json::json;
use tests::collector::{Collector, CollectorBehavior, Received};
use tests::http::{Version, bearer, get, post, with};
use tests::scripted_model::ScriptedModel;
use tests::sidecar::SidecarOptions;
use xtask::workspace;

use crate::stack::{Chain, KEY};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
/// A word that occurs in the prompt and the answer alone.
const WORD: &str = "xylophonium";
const ENVOY: &str = "codex-edge-envoy";
const SIDECAR: &str = "codex-edge";

/// The overlay that ships, with the collector's address.
fn overlay(collector: &Collector) -> String {
    let path = workspace::root().join("deploy/tracing/envoy.yaml");
    let text = fs::read_to_string(path).expect("the file is in the tree");
    let shipped = "{ address: collector, port_value: 4318 }";
    assert_eq!(text.matches(shipped).count(), 1, "`{shipped}` occurs once");
    let (ip, port) = (collector.address().ip(), collector.address().port());
    text.replace(shipped, &format!("{{ address: {ip}, port_value: {port} }}"))
}

async fn start(collector: &Collector) -> Chain {
    let model = ScriptedModel::start()
        .await
        .expect("a loopback port is free");
    let sidecar = SidecarOptions::new(&model)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint())
        .env("OTEL_BSP_SCHEDULE_DELAY", "10")
        .start()
        .await;
    let overlay = overlay(collector);
    Chain::start_over(model, sidecar, |envoy| envoy.config_yaml(overlay)).await
}

fn complete(received: &Received) -> bool {
    let sidecar = received.spans_of(SIDECAR, TRACE);
    sidecar.len() == 2 && !received.spans_of(ENVOY, TRACE).is_empty()
}

#[tokio::test]
async fn one_trace_spans_envoy_sidecar_and_turn_without_a_word_of_the_conversation() {
    let collector = Collector::start(CollectorBehavior::Accept).await;
    let chain = start(&collector).await;
    let script = json!([
        {"text": format!("{WORD} answers")},
        {"usage": {"input_tokens": 100, "cached_tokens": 40, "output_tokens": 20, "reasoning_tokens": 5}},
    ]);
    let message = json!({"role": "user", "content": format!("[[model:{script}]]")});
    let body = json!({"model": "codex-5", "stream": true, "messages": [message]}).to_string();
    let path = format!("/v1/chat/completions?note={WORD}");
    let request = bearer(post(&path, body), KEY);
    let request = with(request, "traceparent", &format!("00-{TRACE}-{CALLER}-01"));
    // A UUID would show a change that Envoy makes for its tracer.
    let id = "11111111-2222-4333-8444-555555555555";
    let request = with(request, "x-request-id", id);
    let mut connection = chain.connect(Version::H2).await;
    let response = connection.send(request).await.expect("Envoy answers");
    assert_eq!(response.status, 200);
    assert_eq!(response.header("x-request-id"), id);
    assert!(String::from_utf8_lossy(&response.body).contains(WORD));

    let received = collector.wait_until(complete).await;
    let [envoy] = received.spans_of(ENVOY, TRACE)[..] else {
        panic!("{:#?}", received.spans);
    };
    assert_eq!(
        (envoy.parent.as_str(), envoy.kind),
        (CALLER, "SPAN_KIND_SERVER")
    );
    let of_sidecar = received.spans_of(SIDECAR, TRACE);
    let find = |kind: &str| of_sidecar.iter().find(|span| span.kind == kind);
    let request = find("SPAN_KIND_SERVER").expect("a span of the request");
    let turn = find("SPAN_KIND_CLIENT").expect("a span of the turn");
    assert_eq!((&request.parent, &turn.parent), (&envoy.id, &request.id));
    assert_eq!(turn.name, "chat codex-5");
    assert_eq!(turn.attributes["gen_ai.usage.input_tokens"], 100);
    assert_eq!(
        turn.attributes["gen_ai.response.finish_reasons"],
        json!(["stop"])
    );
    assert!(!received.contains(WORD) && !received.contains(KEY));
}

#[tokio::test]
async fn envoy_follows_an_unsampled_caller_and_starts_traces_of_its_own() {
    let collector = Collector::start(CollectorBehavior::Accept).await;
    let chain = start(&collector).await;
    let mut client = chain.connect(Version::H1).await;
    let unsampled = bearer(get("/v1/models"), KEY);
    let unsampled = with(unsampled, "traceparent", &format!("00-{TRACE}-{CALLER}-00"));
    for request in [unsampled, bearer(get("/v1/models"), KEY)] {
        let response = client.send(request).await.expect("Envoy answers");
        assert_eq!(response.status, 200);
    }
    let both = |received: &Received| {
        let has = |service: &str| received.spans.iter().any(|span| span.service == service);
        has(ENVOY) && has(SIDECAR)
    };
    let received = collector.wait_until(both).await;
    let [one, other] = received.spans.as_slice() else {
        panic!("{:#?}", received.spans);
    };
    assert_ne!(one.trace, TRACE);
    assert_eq!(one.trace, other.trace);
}

#[tokio::test]
async fn requests_are_served_without_the_collector() {
    let collector = Collector::start(CollectorBehavior::Accept).await;
    let chain = start(&collector).await;
    drop(collector);
    let mut client = chain.connect(Version::H1).await;
    for _ in 0..3 {
        let response = client.send(bearer(get("/v1/models"), KEY)).await;
        assert_eq!(response.expect("Envoy answers").status, 200);
    }
}
