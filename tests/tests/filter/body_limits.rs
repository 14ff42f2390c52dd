//! Body sizes: held and streamed bodies, and their limits.
//! Envoy holds 1 MiB by default; the filter's own limit is `max_body_bytes`.

use serde_json::json;
use tests::wasm_host::{Host, Protocol, Request};

use crate::gateway::{ALICE, Gateway, base, base_with, outcome, start, upstream};

const MIB: usize = 1 << 20;

fn pieces(total: usize) -> impl Iterator<Item = Vec<u8>> {
    const PIECE: usize = 16 << 10;
    (0..total.div_ceil(PIECE)).map(move |index| vec![b'a'; PIECE.min(total - index * PIECE)])
}

/// A body of about `filling` bytes with its model first or last.
fn body(model_first: bool, filling: usize) -> Vec<Vec<u8>> {
    let (before, after) = if model_first {
        (r#"{"model":"codex-5","messages":""#, r#""}"#)
    } else {
        (r#"{"messages":""#, r#"","model":"codex-5"}"#)
    };
    let (before, after) = (before.into(), after.into());
    [before]
        .into_iter()
        .chain(pieces(filling))
        .chain([after])
        .collect()
}

fn post(pieces: Vec<Vec<u8>>) -> Request {
    let request = Request::post("/v1/chat/completions").header("authorization", ALICE);
    request.body_pieces(pieces)
}

#[test]
fn body_after_its_model_is_streamed_beyond_the_buffer_limit() {
    let mut gateway = Gateway::new(&base());
    let body = body(true, 3 * MIB);
    for exchange in gateway.send(post(body.clone())) {
        assert_eq!(outcome(&exchange), "forwarded");
        assert_eq!(exchange.forwarded().pieces, body, "chunk by chunk");
    }
}

#[test]
fn held_body_is_limited_by_envoys_buffer() {
    let mut gateway = Gateway::new(&base());
    gateway.check(post(body(false, MIB / 2)), "forwarded");
    gateway.check(post(body(false, 2 * MIB)), "413 request_payload_too_large");
}

#[test]
fn guest_memory_does_not_grow_with_a_held_body() {
    for hold_headers in [false, true] {
        let config = base();
        let mut host = start(&config, hold_headers);
        let send = |host: &mut Host, filling| {
            let exchange = host
                .worker(0)
                .exchange(post(body(false, filling)), upstream);
            assert_eq!(outcome(&exchange), "forwarded");
            host.worker(0).memory_bytes()
        };
        let small = send(&mut host, 200_000);
        let large = send(&mut host, 900_000);
        assert_eq!(
            small, large,
            "linear memory grows by the largest read, never by the body"
        );
    }
}

#[test]
fn body_over_max_body_bytes_is_rejected_declared_or_not() {
    let mut gateway = Gateway::new(&base_with(json!({"max_body_bytes": 100_000})));
    let declared = post(vec![]).header("content-length", "100001");
    gateway.check(declared, "413 request_too_large");
    gateway.check(post(body(false, 99_000)), "forwarded");
    for model_first in [false, true] {
        let request = post(body(model_first, 150_000));
        for exchange in gateway.send(request) {
            assert_eq!(outcome(&exchange), "413 request_too_large");
            let upstream = exchange
                .upstream
                .map(|message| (message.complete, message.body().len()));
            assert!(upstream.is_none_or(|(whole, bytes)| !whole && bytes <= 100_000));
        }
    }
    // The limit applies to routes without a model too.
    let upload = Request::post("/v1/files").header("authorization", ALICE);
    gateway.check(upload.body_pieces(pieces(150_000)), "413 request_too_large");
}

/// A chat without a key, with a body in chunks and its length declared.
fn unauthenticated_chat(length: usize) -> Request {
    Request::post("/v1/chat/completions")
        .header("content-length", length.to_string())
        .body_pieces(pieces(length))
}

#[test]
fn rejection_waits_for_the_end_of_a_short_http1_body() {
    let mut host = start(&base(), true);
    let mut send = |request: Request| host.worker(0).exchange(request, upstream);
    let waits = [
        unauthenticated_chat(40_000).protocol(Protocol::Http1),
        unauthenticated_chat(40_000)
            .protocol(Protocol::Http1)
            .trailer("x-t", "1"),
    ];
    let replies_at_once = [
        unauthenticated_chat(70_000).protocol(Protocol::Http1),
        unauthenticated_chat(40_000).protocol(Protocol::Http2),
    ];
    for (requests, waits) in [(waits, true), (replies_at_once, false)] {
        for request in requests {
            let disconnected = send(request.clone().disconnects_after(2));
            let is_replied = disconnected.calls.contains_key("proxy_send_local_response");
            assert_eq!(is_replied, !waits, "{} bytes", request.body_bytes());
            let exchange = send(request);
            assert_eq!(outcome(&exchange), "401 invalid_api_key");
            assert!(!exchange.is_forwarded());
        }
    }
    let metrics = host.metrics().values();
    let rejected = "codex_edge_requests_total;verdict=invalid_api_key;";
    assert_eq!(metrics[rejected], 8, "disconnected clients are counted too");
}
