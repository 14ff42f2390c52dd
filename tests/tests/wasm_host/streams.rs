//! Heads, bodies and local replies: the parts that a filter sees, holds and may change.

use tests::wasm_host::{Builder, Outcome, Protocol, Request, Responder, Response};

use crate::guest::host;

/// Notes the length of each request body callback and pauses until the end of the stream.
const HOLD_BODY: &str = r#"
  (func (export "proxy_on_request_body") (param $id i32) (param $len i32) (param $end i32) (result i32)
    (call $note (local.get $len))
    (i32.eqz (local.get $end)))
"#;

/// Pauses at the head; in each body callback sets `x-test` and notes the status.
const HOLD_HEAD: &str = r#"
  (func (export "proxy_on_request_headers") (param $id i32) (param i32) (param $end i32) (result i32) (i32.const 1))
  (func (export "proxy_on_request_body") (param $id i32) (param i32) (param $end i32) (result i32)
    (call $note (call $set_header (i32.const 0) (i32.const 32) (i32.const 6) (i32.const 48) (i32.const 7)))
    (i32.eqz (local.get $end)))
"#;

/// Replies 401 to a request with `x-test`; notes the length of the code details of each response.
const REPLY: &str = r#"
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (if (i32.eqz (call $header (i32.const 0) (i32.const 32) (i32.const 6) (i32.const 1004) (i32.const 1008)))
      (then (drop (call $reply (i32.const 401) (i32.const 0) (i32.const 0) (i32.const 16) (i32.const 3) (i32.const 0) (i32.const 0) (i32.const -1)))))
    (i32.const 0))
  (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
    (drop (call $property (i32.const 64) (i32.const 21) (i32.const 1004) (i32.const 1008)))
    (call $note (i32.load (i32.const 1008)))
    (i32.const 0))
"#;

fn notes(builder: Builder, request: Request) -> Vec<u64> {
    let mut host = builder.start().expect("accepted");
    host.worker(0).exchange(request, |_| Response::ok());
    host.metrics().records("notes")
}

#[test]
fn held_body_is_cumulative_and_a_streamed_one_in_chunks() {
    let request = || Request::post("/").body_pieces(["abc", "de"]);
    assert_eq!(notes(host(HOLD_BODY), request()), [3, 5, 5]);
    assert_eq!(
        notes(host(HOLD_BODY), request().protocol(Protocol::Http2)),
        [3, 5]
    );
    let streamed = HOLD_BODY.replace("(i32.eqz (local.get $end))", "(i32.const 0)");
    assert_eq!(notes(host(&streamed), request()), [3, 2, 0]);
}

#[test]
fn body_with_trailers_has_no_end_of_stream() {
    let request = Request::post("/")
        .body_pieces(["abc", "de"])
        .trailer("x-sum", "1");
    let mut host = host(HOLD_BODY).start().unwrap();
    let exchange = host.worker(0).exchange(request, |_| Response::ok());
    assert_eq!(host.metrics().records("notes"), [3, 5]);
    let forwarded = exchange.forwarded();
    assert_eq!(forwarded.pieces, [b"abcde"]);
    assert_eq!(
        forwarded.trailers.as_ref().unwrap().get("x-sum"),
        Some(&b"1"[..])
    );
}

#[test]
fn paused_head_hangs_unless_headers_can_be_held() {
    let request = || Request::post("/").body_pieces(["abc", "de"]);
    let mut plain = host(HOLD_HEAD).start().unwrap();
    let exchange = plain.worker(0).exchange(request(), |_| Response::ok());
    assert!(matches!(
        exchange.outcome,
        Outcome::Hung("proxy_on_request_headers")
    ));
    assert!(exchange.upstream.is_none());

    let mut holding = host(HOLD_HEAD).hold_headers(true).start().unwrap();
    let exchange = holding.worker(0).exchange(request(), |_| Response::ok());
    assert_eq!(
        exchange.forwarded().headers.get("x-test"),
        Some(&b"changed"[..])
    );
    assert_eq!(holding.metrics().records("notes"), [0, 0, 0]);
}

#[test]
fn forwarded_head_cannot_be_changed() {
    const BAD_ARGUMENT: u64 = 2;
    let guest = HOLD_HEAD.replace("(i32.const 1))", "(i32.const 0))");
    let mut host = host(&guest).hold_headers(true).start().unwrap();
    let request = Request::post("/").body_pieces(["abc", "de"]);
    let exchange = host.worker(0).exchange(request, |_| Response::ok());
    assert_eq!(host.metrics().records("notes"), [BAD_ARGUMENT; 3]);
    assert_eq!(exchange.forwarded().headers.get("x-test"), None);
}

#[test]
fn buffer_limit_applies_to_held_bodies_only() {
    let request = || Request::post("/").body_pieces([[b'a'; 600], [b'a'; 600]]);
    let mut holding = host(HOLD_BODY).buffer_limit(1000).start().unwrap();
    let exchange = holding.worker(0).exchange(request(), |_| Response::ok());
    assert_eq!(exchange.status(), 413);
    let details = "request_payload_too_large".to_owned();
    assert_eq!(exchange.responder(), Some(&Responder::Envoy(details)));
    assert!(!exchange.is_forwarded());

    let streamed = HOLD_BODY.replace("(i32.eqz (local.get $end))", "(i32.const 0)");
    let mut streaming = host(&streamed).buffer_limit(1000).start().unwrap();
    let exchange = streaming.worker(0).exchange(request(), |_| Response::ok());
    assert_eq!(exchange.forwarded().body().len(), 1200);
}

#[test]
fn local_replies_run_through_the_response_callbacks() {
    let mut host = host(REPLY).start().unwrap();
    let rejected = Request::get("/").header("x-test", "");
    let exchange = host.worker(0).exchange(rejected, |_| Response::ok());
    assert_eq!(
        (exchange.status(), exchange.response().text()),
        (401, "key".to_owned())
    );
    assert_eq!(
        exchange.header("content-type").as_deref(),
        Some("text/plain")
    );
    assert_eq!(exchange.responder(), Some(&Responder::Filter));
    assert!(exchange.upstream.is_none());

    let no_route = |_: &_| Response::from_envoy(404, "route_not_found", "");
    assert_eq!(
        host.worker(0)
            .exchange(Request::get("/"), no_route)
            .status(),
        404
    );
    assert_eq!(
        host.metrics().records("notes"),
        [0, "route_not_found".len() as u64]
    );
}

#[test]
fn reply_from_response_headers_replaces_the_response_and_from_its_body_resets() {
    let guest = |callback: &str, args: &str| {
        format!(
            r#"(func (export "{callback}") (param {args}) (result i32)
                (call $note (i32.const 7))
                (drop (call $reply (i32.const 502) (i32.const 0) (i32.const 0) (i32.const 16) (i32.const 3) (i32.const 0) (i32.const 0) (i32.const -1)))
                (i32.const 1))"#
        )
    };
    let upstream = |_: &_| Response::ok().header("x-upstream", "1").body("hello");
    let mut replacing = host(&guest("proxy_on_response_headers", "i32 i32 i32"))
        .start()
        .unwrap();
    let exchange = replacing.worker(0).exchange(Request::get("/"), upstream);
    assert_eq!(
        (exchange.status(), exchange.response().text()),
        (502, "key".to_owned())
    );
    assert_eq!(exchange.header("x-upstream"), None);
    assert_eq!(replacing.metrics().records("notes"), [7]);

    let mut resetting = host(&guest("proxy_on_response_body", "i32 i32 i32"))
        .start()
        .unwrap();
    let exchange = resetting.worker(0).exchange(Request::get("/"), upstream);
    assert!(matches!(exchange.outcome, Outcome::Reset));
}

#[test]
fn body_can_be_replaced_as_a_whole_only() {
    let guest = r#"
      (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
        (call $note (call $set_buffer (i32.const 0) (i32.const 1) (i32.const 1) (i32.const 16) (i32.const 3)))
        (call $note (call $set_buffer (i32.const 0) (i32.const 0) (i32.const -1) (i32.const 16) (i32.const 3)))
        (call $note (call $set_buffer (i32.const 0) (i32.const 3) (i32.const 0) (i32.const 16) (i32.const 3)))
        (call $note (call $set_buffer (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 16) (i32.const 1)))
        (i32.const 0))"#;
    let mut host = host(guest).start().unwrap();
    let request = Request::post("/").body("abcde").protocol(Protocol::Http2);
    let exchange = host.worker(0).exchange(request, |_| Response::ok());
    assert_eq!(exchange.forwarded().text(), "kkeykey");
    assert_eq!(host.metrics().records("notes"), [2, 0, 0, 0]);
}

#[test]
fn streamed_response_keeps_its_chunks() {
    let mut host = host("").start().unwrap();
    let events = ["data: 1\n\n", "data: 2\n\n"];
    let upstream = |_: &_| Response::ok().body_pieces(events).trailer("x-usage", "3");
    let exchange = host.worker(0).exchange(Request::get("/"), upstream);
    assert_eq!(
        exchange.response().pieces,
        events.map(|event| event.as_bytes().to_vec())
    );
    assert!(exchange.response().trailers.is_some());

    let head = host.worker(0).exchange(Request::new("HEAD", "/"), upstream);
    assert_eq!(
        (head.status(), head.response().text()),
        (200, String::new())
    );
}
