//! Loading, start, update and trap.

use tests::wasm_host::{FilterModule, Outcome, Request, Response};

use crate::guest::{host, module};

/// Notes the length of its configuration at every request; rejects an empty one, and traps on a request with `x-test`.
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
fn module_with_unknown_import_or_abi_is_rejected() {
    let error = |text: &str| FilterModule::new(text.as_bytes()).unwrap_err().to_string();
    let unknown = r#"(module (import "env" "proxy_new" (func))
        (memory (export "memory") 1) (func (export "malloc") (param i32) (result i32) local.get 0)
        (func (export "proxy_abi_version_0_2_1")))"#;
    assert!(error(unknown).contains("proxy_new"), "{}", error(unknown));
    assert!(error("(module)").contains("proxy_abi_version_0_2_1"));
}

#[test]
#[should_panic(expected = "the wasm host does not implement proxy_done")]
fn unsupported_host_function_ends_the_test() {
    let guest = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (call $done))"#;
    let mut host = host(guest).start().unwrap();
    host.worker(0)
        .exchange(Request::get("/"), |_| Response::ok());
}

#[test]
fn rejected_configuration_does_not_start() {
    let error = host(CONFIGURED).start().unwrap_err();
    assert_eq!(error.to_string(), "proxy_on_configure returned false");
}

#[test]
fn rejected_update_keeps_the_old_configuration() {
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
fn request_after_a_trap_gets_a_new_vm() {
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
fn log_done_and_delete_are_called_once_for_every_stream() {
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
    check(Request::get("/").disconnects_after(0), [1, 2, 8, 9]);
    check(Request::get("/").disconnects_after(2), [1, 2, 8, 9]);
}

#[test]
fn fuel_is_deterministic() {
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
fn trap_after_ends_the_vm_in_any_host_call() {
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
