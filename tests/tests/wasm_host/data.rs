//! Host state without a stream: wire formats, shared data, clocks, environment, configuration.

use std::thread;
use std::time::Duration;

use tests::wasm_host::{Request, Response, encode_pairs};

use crate::guest::host;

/// Increments the number under `key`, and retries until no other worker wrote in between.
const COUNT: &str = r#"
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (loop $again
      (drop (call $load (i32.const 16) (i32.const 3) (i32.const 1004) (i32.const 1008) (i32.const 1012)))
      (i32.store16 (i32.const 1016) (i32.add (i32.load16_u (i32.load (i32.const 1004))) (i32.const 1)))
      (br_if $again (call $store (i32.const 16) (i32.const 3) (i32.const 1016) (i32.const 2) (i32.load (i32.const 1012)))))
    (i32.const 0))
"#;

#[test]
fn header_map_is_serialized_as_specified() {
    let mut host = host(
        r#"(func (export "proxy_on_request_headers") (param $id i32) (param $count i32) (param i32) (result i32)
            (call $note (local.get $count))
            (drop (call $pairs (i32.const 0) (i32.const 1004) (i32.const 1008)))
            (drop (call $store (i32.const 16) (i32.const 3) (i32.load (i32.const 1004)) (i32.load (i32.const 1008)) (i32.const 0)))
            (i32.const 0))"#,
    )
    .start()
    .unwrap();
    let request = Request::get("/").header("x-test", b"\xff\0\xc3");
    let exchange = host.worker(0).exchange(request, |_| Response::ok());
    let (wire, _) = host.shared_data().get(b"key").unwrap();
    let headers = exchange.upstream_headers();
    assert_eq!(wire, encode_pairs(headers));
    assert_eq!(host.metrics().records("notes"), [headers.len() as u64]);
    assert_eq!(exchange.calls["proxy_get_header_map_pairs"], 1);
}

#[test]
fn compare_and_swap_loses_no_increment_between_threads() {
    const EACH: u16 = 500;
    let mut host = host(COUNT).workers(2).start().unwrap();
    host.shared_data().set(b"key", b"\0\0", 0).unwrap();
    thread::scope(|scope| {
        for worker in host.workers() {
            scope.spawn(|| {
                for _ in 0..EACH {
                    let exchange = worker.exchange(Request::get("/"), |_| Response::ok());
                    assert_eq!(exchange.status(), 200);
                }
            });
        }
    });
    let (count, _) = host.shared_data().get(b"key").unwrap();
    assert_eq!(count, (2 * EACH).to_le_bytes());
}

#[test]
fn lost_race_is_reported_to_the_guest() {
    let mut host = host(COUNT).start().unwrap();
    host.shared_data().set(b"key", b"\x05\0", 0).unwrap();
    host.shared_data().lose_next_races(3);
    let exchange = host
        .worker(0)
        .exchange(Request::get("/"), |_| Response::ok());
    assert_eq!(exchange.calls["proxy_set_shared_data"], 4);
    assert_eq!(host.shared_data().get(b"key").unwrap().0, b"\x06\0");
}

#[test]
fn clocks_show_the_time_of_the_test() {
    let mut host = host(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (drop (call $now (i32.const 1004)))
            (call $note (i32.wrap_i64 (i64.div_u (i64.load (i32.const 1004)) (i64.const 1000000000))))
            (drop (call $clock (i32.const 0) (i64.const 0) (i32.const 1004)))
            (call $note (i32.wrap_i64 (i64.div_u (i64.load (i32.const 1004)) (i64.const 1000000000))))
            (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 1004)))
            (call $note (i32.wrap_i64 (i64.div_u (i64.load (i32.const 1004)) (i64.const 1000000000))))
            (i32.const 0))"#,
    )
    .now(std::time::UNIX_EPOCH + Duration::from_secs(1000))
    .start()
    .unwrap();
    host.worker(0)
        .exchange(Request::get("/"), |_| Response::ok());
    host.clock().advance(Duration::from_secs(5));
    host.worker(0)
        .exchange(Request::get("/"), |_| Response::ok());
    let wall = host.clock().wall() - Duration::from_secs(600);
    host.clock().set_wall(wall);
    host.worker(0)
        .exchange(Request::get("/"), |_| Response::ok());
    let notes = host.metrics().records("notes");
    assert_eq!(notes, [1000, 1000, 0, 1005, 1005, 5, 405, 405, 5]);
}

#[test]
fn environment_and_configuration_are_readable_at_start() {
    let host = host(
        r#"(func (export "proxy_on_configure") (param $id i32) (param $size i32) (result i32)
            (drop (call $environ (i32.const 2000) (i32.const 3000)))
            (drop (call $store (i32.const 16) (i32.const 3) (i32.load (i32.const 2004)) (i32.const 4) (i32.const 0)))
            (call $note (local.get $size))
            (drop (call $buffer (i32.const 7) (i32.const 2) (i32.const 99) (i32.const 1004) (i32.const 1008)))
            (call $note (i32.load (i32.const 1008)))
            (i32.const 1))"#,
    )
    .config("12345")
    .env("A", "1")
    .env("B", "2")
    .start()
    .unwrap();
    assert_eq!(host.shared_data().get(b"key").unwrap().0, b"B=2\0");
    assert_eq!(
        host.metrics().records("notes"),
        [5, 3, 5, 3],
        "a canary and a worker"
    );
}
