//! A collector that is away or slow, and the end of the process: requests are served, and lost spans are counted.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;
use tests::collector::{Collector, CollectorBehavior};
use tests::http::get;
use tests::sidecar::Sidecar;
use tokio::time::{sleep, timeout};

use super::exporting::{answer, exporting, start_exporting};
use crate::stack::{SOON, ask, start_with};

/// The value of a counter in the sidecar's own metrics.
async fn counter(sidecar: &Sidecar, name: &str) -> u64 {
    let response = sidecar.connect_admin().await.send(get("/metrics")).await;
    let text = String::from_utf8(response.expect("a response arrives").body.to_vec())
        .expect("an exposition is UTF-8");
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse().expect("a counter is a number"))
}

/// Waits until `condition` holds.
async fn eventually_so(description: &str, condition: impl AsyncFn() -> bool) {
    let wait = async {
        while !condition().await {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let met = timeout(SOON, wait).await;
    assert!(met.is_ok(), "not within {SOON:?}: {description}");
}

const DROPPED: &str = "sidecar_otel_spans_dropped_total";

#[tokio::test]
async fn rejected_exports_are_counted_and_logged_once() {
    let collector = Collector::start(CollectorBehavior::Reject).await;
    let (_model, sidecar) = start_with(|options| exporting(options, &collector, &[])).await;
    for turns in 1..=2 {
        assert_eq!(ask(&sidecar, answer(), json!({})).await.status, 200);
        eventually_so("both spans are counted", async || {
            counter(&sidecar, DROPPED).await == 2 * turns
        })
        .await;
    }
    let failures = r#"sidecar_otel_export_failures_total{signal="metrics"}"#;
    eventually_so("metrics fail too", async || {
        counter(&sidecar, failures).await > 0
    })
    .await;
    let log = sidecar.log();
    assert_eq!(log.matches("telemetry export failed").count(), 1, "{log}");
    // The next export of metrics has the values of the failed ones.
    collector.set_behavior(CollectorBehavior::Accept);
    let received = collector
        .wait_until(|received| received.metrics.contains_key("gen_ai.client.token.usage"))
        .await;
    assert_eq!(received.metrics["gen_ai.client.token.usage"][0].count, 2);
}

#[tokio::test]
async fn slow_collector_costs_spans_beyond_the_queue_only() {
    let collector = Collector::start(CollectorBehavior::NeverRespond).await;
    let more = [
        ("OTEL_BSP_MAX_QUEUE_SIZE", "2"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "600000"),
    ];
    let (_model, mut sidecar) = start_with(|options| exporting(options, &collector, &more)).await;
    let mut client = sidecar.connect().await;
    for _ in 0..20 {
        assert_eq!(client.send(get("/v1/models")).await.unwrap().status, 200);
    }
    assert_eq!(ask(&sidecar, answer(), json!({})).await.status, 200);
    // Two spans are in the export, two in the queue.
    eventually_so("the other spans are counted", async || {
        counter(&sidecar, DROPPED).await >= 18
    })
    .await;
    drop(client);
    sidecar.signal(Signal::SIGTERM);
    assert_eq!(sidecar.wait().await, Some(0));
    assert!(sidecar.log().contains("telemetry flush timed out"));
}

#[tokio::test]
async fn absent_collector_leaves_requests_alone() {
    let collector = Collector::start(CollectorBehavior::Accept).await;
    let more = [("OTEL_EXPORTER_OTLP_TIMEOUT", "200")];
    let (_model, sidecar) = start_with(|options| exporting(options, &collector, &more)).await;
    drop(collector);
    assert_eq!(ask(&sidecar, answer(), json!({})).await.status, 200);
    eventually_so("both spans are counted", async || {
        counter(&sidecar, DROPPED).await == 2
    })
    .await;
}

#[tokio::test]
async fn shutdown_exports_what_is_left() {
    let slow = [
        ("OTEL_BSP_SCHEDULE_DELAY", "3600000"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "3600000"),
    ];
    let (collector, _model, mut sidecar) = start_exporting(&slow).await;
    assert_eq!(ask(&sidecar, answer(), json!({})).await.status, 200);
    assert!(collector.received().raw.is_empty());
    sidecar.signal(Signal::SIGTERM);
    assert_eq!(sidecar.wait().await, Some(0));
    let received = collector.received();
    assert_eq!(received.spans.len(), 2, "{:#?}", received.spans);
    assert!(received.metrics.contains_key("gen_ai.client.token.usage"));
}
