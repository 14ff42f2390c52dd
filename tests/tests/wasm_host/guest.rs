//! Guests in WebAssembly text: a common prelude and the callbacks under test.
//! Follows the proxy-wasm ABI 0.2.1, without an SDK between test and host.

use tests::wasm_host::{Builder, FilterModule, Host};

/// Memory, an allocator that never frees, the host functions used, and `$note`, which appends to histogram `notes`.
const PRELUDE: &str = r#"
  (import "env" "proxy_get_header_map_pairs" (func $pairs (param i32 i32 i32) (result i32)))
  (import "env" "proxy_get_header_map_value" (func $header (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_replace_header_map_value" (func $set_header (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_buffer_bytes" (func $buffer (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_buffer_bytes" (func $set_buffer (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_property" (func $property (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_shared_data" (func $load (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_shared_data" (func $store (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_send_local_response" (func $reply (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_current_time_nanoseconds" (func $now (param i32) (result i32)))
  (import "env" "proxy_define_metric" (func $define (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_record_metric" (func $record (param i32 i64) (result i32)))
  (import "env" "proxy_done" (func $done (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (memory (export "memory") 64)
  (data (i32.const 0) "notes") (data (i32.const 16) "key") (data (i32.const 32) "x-test")
  (data (i32.const 48) "changed") (data (i32.const 64) "response\00code_details") (data (i32.const 96) "busy")
  (global $heap (mut i32) (i32.const 65536))
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param $len i32) (result i32)
    global.get $heap
    (global.set $heap (i32.add (global.get $heap) (local.get $len))))
  (func $note (param $value i32)
    (drop (call $define (i32.const 2) (i32.const 0) (i32.const 5) (i32.const 1000)))
    (drop (call $record (i32.load (i32.const 1000)) (i64.extend_i32_u (local.get $value)))))
"#;

/// Compiles the prelude and these functions.
pub(crate) fn module(functions: &str) -> FilterModule {
    let text = format!("(module {PRELUDE} {functions})");
    FilterModule::new(text.as_bytes()).expect("the guest compiles")
}

/// A host for a guest with these functions.
pub(crate) fn host(functions: &str) -> Builder {
    Host::builder(&module(functions))
}
