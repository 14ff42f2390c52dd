//! The host functions by name.
//! Follows the proxy-wasm ABI 0.2.1, section "Functions implemented in the host environment".

use std::fmt;

use wasmtime::{Caller, Linker, Module};

use super::guest::Guest;
use super::result::{CallError, CallResult};
use super::{process, stream, wasi};
use crate::wasm_host::abi::Status;
use crate::wasm_host::guest::VmState;

/// Functions that the Rust SDK imports whether a filter calls them or not, and that this host does not implement.
const UNSUPPORTED: [&str; 12] = [
    "proxy_close_stream",
    "proxy_continue_stream",
    "proxy_dequeue_shared_queue",
    "proxy_done",
    "proxy_enqueue_shared_queue",
    "proxy_get_status",
    "proxy_grpc_cancel",
    "proxy_grpc_close",
    "proxy_grpc_send",
    "proxy_grpc_stream",
    "proxy_register_shared_queue",
    "proxy_resolve_shared_queue",
];

/// A guest has called a function that this host does not implement; the test must fail rather than continue.
#[derive(Debug)]
pub(in crate::wasm_host) struct Unsupported(String);

impl fmt::Display for Unsupported {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the wasm host does not implement {}", self.0)
    }
}

impl std::error::Error for Unsupported {}

/// Defines functions of module `env` by name and argument types; each call is counted.
macro_rules! define {
    ($linker:ident: $($module:ident::$name:ident($($arg:ident: $type:ty),*);)*) => {$(
        $linker.func_wrap("env", stringify!($name), |caller: Caller<'_, VmState>, $($arg: $type),*| {
            let mut guest = Guest::enter(caller, stringify!($name))?;
            let result = match guest.is_failing(stringify!($name)) {
                true => Err(Status::InternalFailure.into()),
                false => $module::$name(&mut guest, $($arg),*),
            };
            status(result)
        })?;
    )*};
}

/// Defines all functions that the module may call; those that this host lacks return [`Unsupported`].
///
/// # Errors
/// A name is defined twice.
pub(in crate::wasm_host) fn linker(module: &Module) -> wasmtime::Result<Linker<VmState>> {
    let mut linker = Linker::new(module.engine());
    define! { linker:
        process::proxy_log(level: u32, text: u32, len: u32);
        process::proxy_get_log_level(out: u32);
        process::proxy_get_current_time_nanoseconds(out: u32);
        process::proxy_set_tick_period_milliseconds(millis: u32);
        process::proxy_get_shared_data(key: u32, key_len: u32, out: u32, out_len: u32, out_cas: u32);
        process::proxy_set_shared_data(key: u32, key_len: u32, value: u32, value_len: u32, cas: u32);
        process::proxy_define_metric(kind: u32, name: u32, name_len: u32, out: u32);
        process::proxy_increment_metric(id: u32, offset: i64);
        process::proxy_record_metric(id: u32, value: u64);
        process::proxy_get_metric(id: u32, out: u32);
        process::proxy_set_effective_context(context: u32);
        process::proxy_http_call(a: u32, b: u32, c: u32, d: u32, e: u32, f: u32, g: u32, h: u32, i: u32, j: u32);
        process::proxy_grpc_call(a: u32, b: u32, c: u32, d: u32, e: u32, f: u32, g: u32, h: u32, i: u32, j: u32, k: u32, l: u32);
        process::proxy_call_foreign_function(name: u32, name_len: u32, args: u32, args_len: u32, out: u32, out_len: u32);
        stream::proxy_get_header_map_pairs(map: u32, out: u32, out_len: u32);
        stream::proxy_set_header_map_pairs(map: u32, pairs: u32, len: u32);
        stream::proxy_get_header_map_value(map: u32, name: u32, name_len: u32, out: u32, out_len: u32);
        stream::proxy_add_header_map_value(map: u32, name: u32, name_len: u32, value: u32, value_len: u32);
        stream::proxy_replace_header_map_value(map: u32, name: u32, name_len: u32, value: u32, value_len: u32);
        stream::proxy_remove_header_map_value(map: u32, name: u32, name_len: u32);
        stream::proxy_get_buffer_bytes(buffer: u32, start: u32, max_len: u32, out: u32, out_len: u32);
        stream::proxy_set_buffer_bytes(buffer: u32, start: u32, len: u32, value: u32, value_len: u32);
        stream::proxy_get_property(path: u32, path_len: u32, out: u32, out_len: u32);
        stream::proxy_set_property(path: u32, path_len: u32, value: u32, value_len: u32);
        stream::proxy_send_local_response(code: u32, details: u32, details_len: u32, body: u32, body_len: u32, headers: u32, headers_len: u32, grpc: u32);
    }
    wasi::define(&mut linker)?;
    define_unsupported(&mut linker, module)?;
    Ok(linker)
}

fn define_unsupported(linker: &mut Linker<VmState>, module: &Module) -> wasmtime::Result<()> {
    for import in module.imports() {
        let known = UNSUPPORTED.contains(&import.name());
        if let (true, Some(ty)) = (known, import.ty().func().cloned()) {
            let name = import.name().to_owned();
            linker.func_new("env", import.name(), ty, move |_, _, _| {
                Err(wasmtime::Error::new(Unsupported(name.clone())))
            })?;
        }
    }
    Ok(())
}

/// Converts a result to the status for the guest.
fn status(result: CallResult) -> wasmtime::Result<u32> {
    match result {
        Ok(()) => Ok(Status::Ok as u32),
        Err(CallError::Status(status)) => Ok(status as u32),
        Err(CallError::Trap(error)) => Err(error),
    }
}
