//! Body sizes: what is held and for how long, what flows, what is too much.
//! Envoy holds 1 MiB unless told; the filter's own limit is `max_body_bytes`.

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
fn once_the_model_is_known_the_rest_flows_through_any_buffer() {
    let mut gateway = Gateway::new(&base());
    let body = body(true, 3 * MIB);
    for exchange in gateway.send(post(body.clone())) {
        assert_eq!(outcome(&exchange), "forwarded");
        assert_eq!(exchange.forwarded().pieces, body, "piece by piece");
    }
}

#[test]
fn what_must_be_held_is_bounded_by_envoy() {
    let mut gateway = Gateway::new(&base());
    gateway.check(post(body(false, MIB / 2)), "forwarded");
    gateway.check(post(body(false, 2 * MIB)), "413 request_payload_too_large");
}

#[test]
fn a_held_body_is_not_kept_in_the_guest() {
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
            "linear memory grows by what is read at once, never by the body"
        );
    }
}

#[test]
fn a_body_over_the_filters_limit_is_refused_declared_or_not() {
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
    // What does not name a model is measured as well.
    let upload = Request::post("/v1/files").header("authorization", ALICE);
    gateway.check(upload.body_pieces(pieces(150_000)), "413 request_too_large");
}

/// A chat of a stranger, with a body in pieces and its length declared.
fn strangers_chat(length: usize) -> Request {
    Request::post("/v1/chat/completions")
        .header("content-length", length.to_string())
        .body_pieces(pieces(length))
}

#[test]
fn a_refusal_waits_for_the_end_of_a_short_body() {
    let mut host = start(&base(), true);
    let mut send = |request: Request| host.worker(0).exchange(request, upstream);
    let waits = [
        strangers_chat(40_000).protocol(Protocol::Http1),
        strangers_chat(40_000)
            .protocol(Protocol::Http1)
            .trailer("x-t", "1"),
    ];
    let goes_at_once = [
        strangers_chat(70_000).protocol(Protocol::Http1),
        strangers_chat(40_000).protocol(Protocol::Http2),
    ];
    for (requests, waits) in [(waits, true), (goes_at_once, false)] {
        for request in requests {
            let left = send(request.clone().leaves_after(2));
            let is_answered = left.calls.contains_key("proxy_send_local_response");
            assert_eq!(is_answered, !waits, "{} bytes", request.body_bytes());
            let exchange = send(request);
            assert_eq!(outcome(&exchange), "401 invalid_api_key");
            assert!(!exchange.is_forwarded());
        }
    }
    let metrics = host.metrics().values();
    let refused = "codex_edge_requests_total;verdict=invalid_api_key;";
    assert_eq!(metrics[refused], 8, "who leaves was refused too");
}
