//! Requests in flight and held bodies: bounded for each client and in all, and released with the end of each stream.
//! The bounds are those of one worker: `max_client_requests` and `max_held_body_bytes`.

use serde_json::json;
use tests::wasm_host::{Exchange, Host, Request};

use crate::gateway::{ALICE, base_with, outcome, start, upstream};

const BOB: &str = "Bearer sk-bob";
const PIECE: usize = 10_000;

/// A worker that holds at most 200,000 bytes, so that a client alone holds at most 100,000.
fn host(hold_headers: bool) -> Host {
    let limits = json!({
        "max_body_bytes": 100_000, "max_held_body_bytes": 200_000, "max_client_requests": 3,
    });
    start(&base_with(limits), hold_headers)
}

/// A chat without a declared length, in pieces, with its model last.
fn in_pieces(key: &str, length: usize) -> Request {
    let (before, after) = (r#"{"messages":""#, r#"","model":"codex-5"}"#);
    let filling = "a".repeat(length - before.len() - after.len());
    let body = format!("{before}{filling}{after}");
    Request::post("/v1/chat/completions")
        .header("authorization", key)
        .body_pieces(body.as_bytes().chunks(PIECE))
}

fn declared(key: &str, length: usize) -> Request {
    in_pieces(key, length).header("content-length", length.to_string())
}

fn send(host: &mut Host, requests: impl IntoIterator<Item = Request>) -> Vec<Exchange> {
    host.worker(0).interleave(requests, upstream)
}

fn outcomes(exchanges: &[Exchange]) -> Vec<String> {
    exchanges.iter().map(outcome).collect()
}

#[test]
fn requests_in_flight_are_bounded_for_each_client_and_end_with_their_streams() {
    for hold_headers in [false, true] {
        let mut host = host(hold_headers);
        for _ in 0..3 {
            let usage = || Request::get("/v1/usage").header("authorization", ALICE);
            let bob = in_pieces(BOB, 100);
            let exchanges = send(
                &mut host,
                [usage(), in_pieces(ALICE, 100), usage(), usage(), bob],
            );
            let expected = [
                "forwarded",
                "forwarded",
                "forwarded",
                "429 client_requests_exceeded",
                "forwarded",
            ];
            assert_eq!(outcomes(&exchanges), expected);
            let refused = exchanges[3].response();
            assert_eq!(refused.headers.text("retry-after").as_deref(), Some("1"));
        }
        let metrics = host.metrics().values();
        let refused = "codex_edge_requests_total;verdict=client_requests_exceeded;";
        assert_eq!(metrics[refused], 3);
    }
}

#[test]
fn held_bytes_are_bounded_for_a_client_and_in_all() {
    for hold_headers in [false, true] {
        let mut host = host(hold_headers);
        for form in [declared, in_pieces] {
            let requests = [
                declared(ALICE, 90_000),
                in_pieces(ALICE, 9_000),
                form(ALICE, 80_000),
                form(BOB, 80_000),
            ];
            let exchanges = send(&mut host, requests);
            let expected = [
                "forwarded",
                "forwarded",
                "429 client_memory_exceeded",
                "503 memory_exceeded",
            ];
            assert_eq!(outcomes(&exchanges), expected);
            for refused in [&exchanges[2], &exchanges[3]] {
                let headers = &refused.response().headers;
                assert_eq!(headers.text("retry-after").as_deref(), Some("1"));
            }
            let retry = exchanges[3].response().headers.text("x-should-retry");
            assert_eq!(retry.as_deref(), Some("true"));
        }
    }
}

#[test]
fn held_bytes_are_released_by_disconnects_rejections_and_responses() {
    for hold_headers in [false, true] {
        let mut host = host(hold_headers);
        let ends = [
            declared(ALICE, 90_000).disconnects_after(4),
            in_pieces(ALICE, 90_000).disconnects_after(4),
            declared(ALICE, 90_000).trailer("x-t", "1"),
            in_pieces(ALICE, 100_001),
            Request::post("/v1/chat/completions")
                .header("authorization", ALICE)
                .header("content-length", "90000")
                .body_pieces([vec![b' '; 90_000]]),
        ];
        for end in ends {
            send(&mut host, [end]);
            let exchanges = send(&mut host, [declared(ALICE, 90_000)]);
            assert_eq!(outcomes(&exchanges), ["forwarded"]);
        }
    }
}

#[test]
fn body_that_is_released_early_holds_only_what_came_before() {
    let model_first = || {
        let mut body = br#"{"model":"codex-5","messages":""#.to_vec();
        body.resize(90_000, b'a');
        Request::post("/v1/chat/completions")
            .header("authorization", ALICE)
            .body_pieces(body.chunks(PIECE))
    };
    let mut host = host(true);
    let exchanges = send(
        &mut host,
        [model_first(), model_first(), declared(ALICE, 70_000)],
    );
    assert_eq!(outcomes(&exchanges), ["forwarded"; 3]);
}

#[test]
fn trap_leaks_no_count() {
    let mut host = host(true);
    host.worker(0).trap_after(12);
    send(&mut host, [0; 3].map(|_| declared(ALICE, 30_000)));
    assert_eq!(
        host.worker(0).reloads(),
        0,
        "the new VM comes with the next request"
    );
    for _ in 0..2 {
        let exchanges = send(&mut host, [declared(ALICE, 90_000)]);
        assert_eq!(outcomes(&exchanges), ["forwarded"]);
    }
    assert_eq!(host.worker(0).reloads(), 1);
}
