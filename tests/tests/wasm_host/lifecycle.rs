//! Load, start, update, trap: who goes on, with what.

use tests::wasm_host::{FilterModule, Outcome, Request, Response};

use crate::guest::{host, module};

/// Says its configuration's length with every request; an empty one is refused, `x-test: changed` is a trap.
const CONFIGURED: &str = r#"
  (global $size (mut i32) (i32.const 0))
  (func (export "proxy_on_configure") (param $id i32) (param $size i32) (result i32)
    (global.set $size (local.get $size))
    (local.get $size))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (if (i32.eqz (call $header (i32.const 0) (i32.const 32) (i32.const 6) (i32.const 1004) (i32.const 1008)))
      (then unreachable))
    (call $note (global.get $size))
    (i32.const 0))
"#;

#[test]
fn what_envoy_would_not_load_is_refused_with_its_name() {
    let refused = |text: &str| FilterModule::new(text.as_bytes()).unwrap_err().to_string();
    let unknown = r#"(module (import "env" "proxy_new" (func))
        (memory (export "memory") 1) (func (export "malloc") (param i32) (result i32) local.get 0)
        (func (export "proxy_abi_version_0_2_1")))"#;
    assert!(
        refused(unknown).contains("proxy_new"),
        "{}",
        refused(unknown)
    );
    assert!(refused("(module)").contains("proxy_abi_version_0_2_1"));
}

#[test]
#[should_panic(expected = "the wasm host does not implement proxy_done")]
fn a_function_that_the_host_lacks_ends_the_test() {
    let guest = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (call $done))"#;
    let mut host = host(guest).start().unwrap();
    host.worker(0)
        .exchange(Request::get("/"), |_| Response::ok());
}

#[test]
fn a_refused_configuration_does_not_start() {
    let error = host(CONFIGURED).start().unwrap_err();
    assert_eq!(error.to_string(), "proxy_on_configure said no");
}

#[test]
fn a_refused_update_leaves_the_old_configuration() {
    let mut host = host(CONFIGURED).config("old").start().unwrap();
    host.update("").unwrap_err();
    host.worker(0)
        .exchange(Request::get("/"), |_| Response::ok());
    host.update("newer").unwrap();
    host.worker(0)
        .exchange(Request::get("/"), |_| Response::ok());
    assert_eq!(host.metrics().records("notes"), [3, 5]);
}

#[test]
fn after_a_trap_the_next_request_has_a_new_vm() {
    let mut host = host(CONFIGURED).config("abc").start().unwrap();
    let worker = host.worker(0);
    let requests = [Request::get("/"), Request::get("/").header("x-test", "")];
    let exchanges = worker.interleave(requests, |_| Response::ok());
    assert!(
        matches!(exchanges[0].outcome, Outcome::Reset),
        "{exchanges:?}"
    );
    assert!(
        matches!(&exchanges[1].outcome, Outcome::Trapped(trap) if trap.callback == "proxy_on_request_headers")
    );
    let exchange = worker.exchange(Request::get("/"), |_| Response::ok());
    assert_eq!((exchange.status(), worker.reloads()), (200, 1));
    assert_eq!(host.metrics().records("notes"), [3, 3]);
}

#[test]
fn the_last_callbacks_come_once_whatever_happened() {
    let guest = r#"
        (func (export "proxy_on_log") (param i32)
          (call $note (call $header (i32.const 0) (i32.const 32) (i32.const 6) (i32.const 1004) (i32.const 1008)))
          (call $note (call $set_header (i32.const 0) (i32.const 32) (i32.const 6) (i32.const 48) (i32.const 7))))
        (func (export "proxy_on_done") (param i32) (result i32) (call $note (i32.const 8)) (i32.const 1))
        (func (export "proxy_on_delete") (param i32) (call $note (i32.const 9)))"#;
    let check = |request: Request, notes: [u64; 4]| {
        let mut host = host(guest).start().unwrap();
        host.worker(0)
            .exchange(request, |_| Response::ok().body("x"));
        assert_eq!(host.metrics().records("notes"), notes);
    };
    check(Request::get("/").header("x-test", "1"), [0, 2, 8, 9]);
    check(Request::get("/"), [1, 2, 8, 9]);
    check(Request::get("/").leaves_after(0), [1, 2, 8, 9]);
    check(Request::get("/").leaves_after(2), [1, 2, 8, 9]);
}

#[test]
fn fuel_is_the_same_in_every_run() {
    let module = module(CONFIGURED);
    let fuel = || {
        let mut host = tests::wasm_host::Host::builder(&module)
            .config("abc")
            .start()
            .unwrap();
        host.worker(0)
            .exchange(Request::get("/"), |_| Response::ok())
            .fuel
    };
    assert!(fuel() > 0);
    assert_eq!(fuel(), fuel());
}

#[test]
fn a_test_can_end_the_vm_in_any_host_call() {
    let mut host = host(CONFIGURED).config("abc").start().unwrap();
    let worker = host.worker(0);
    for calls in 0..3 {
        worker.trap_after(calls);
        let exchange = worker.exchange(Request::get("/"), |_| Response::ok());
        assert!(
            matches!(exchange.outcome, Outcome::Trapped(_)),
            "{exchange:?}"
        );
    }
    worker.trap_after(3);
    assert_eq!(
        worker
            .exchange(Request::get("/"), |_| Response::ok())
            .status(),
        200
    );
}
