//! Metrics: counters by verdict, and the reason of each rejection for the access log.

use serde_json::json;
use tests::wasm_host::Request;

use crate::gateway::{ALICE, base, base_with, chat, good_chat, start, upstream};

const REASON: &str = "codex_edge.reason";

#[test]
fn each_request_is_counted_once_and_rejections_store_their_reason() {
    let fields = json!({
        "max_body_bytes": 1000,
        "rate_limit": {"requests": 7, "window_ms": 60_000},
        "unauthenticated_rate_limit": {"requests": 1, "window_ms": 60_000},
    });
    let verdicts = [
        (good_chat(), "forwarded"),
        (Request::get("/healthz"), "forwarded"),
        (Request::new("OPTIONS", "/"), "options"),
        (
            Request::get("/verify").header("authorization", ALICE),
            "verified",
        ),
        (Request::post("/verify"), "method_not_allowed"),
        (chat("{}"), "invalid_api_key"),
        (chat("{}"), "stranger_rate_limited"),
        (chat("{").header("authorization", ALICE), "invalid_json"),
        (
            chat(r#"{"model":1}"#).header("authorization", ALICE),
            "invalid_model",
        ),
        (
            chat(r#"{"model":"x"}"#).header("authorization", ALICE),
            "model_not_found",
        ),
        (
            chat(r#"{"model":"codex-6"}"#).header("authorization", "Bearer sk-bob"),
            "model_not_allowed",
        ),
        (
            good_chat().header("content-length", "1001"),
            "body_too_large",
        ),
        (good_chat(), "forwarded"),
        (good_chat(), "forwarded"),
        (good_chat(), "rate_limited"),
    ];
    for hold_headers in [false, true] {
        let mut host = start(&base_with(fields.clone()), hold_headers);
        for (request, verdict) in &verdicts {
            let name = format!("codex_edge_requests_total;verdict={verdict};");
            let total = |host: &tests::wasm_host::Host| {
                let values = host.metrics().values();
                let counts = values
                    .iter()
                    .filter(|(name, _)| name.starts_with("codex_edge_requests_total;"));
                (values[&name], counts.map(|(_, count)| count).sum::<u64>())
            };
            let before = total(&host);
            let exchange = host.worker(0).exchange(request.clone(), upstream);
            assert_eq!(
                total(&host),
                (before.0 + 1, before.1 + 1),
                "{verdict}: {request:?}"
            );
            let is_rejection = !["forwarded", "options", "verified"].contains(verdict);
            let reason = exchange
                .properties
                .get(REASON)
                .map(|reason| String::from_utf8_lossy(reason));
            assert_eq!(reason.as_deref(), is_rejection.then_some(*verdict));
        }
    }
}

#[test]
fn scanned_bytes_and_buckets_are_reported() {
    for hold_headers in [false, true] {
        let mut host = start(&base(), hold_headers);
        let body = r#"{"messages":[],"model":"codex-5"}"#;
        let exchange = host
            .worker(0)
            .exchange(chat(body).header("authorization", ALICE), upstream);
        assert!(exchange.is_forwarded());
        let scanned = host.metrics().value("codex_edge_scanned_bytes_total");
        assert_eq!(scanned, Some(body.len() as u64));
        let buckets = host.metrics().value("codex_edge_rate_limit_buckets");
        assert_eq!(buckets, Some(host.shared_data().keys().len() as u64));
    }
}
