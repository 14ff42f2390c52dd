//! The functions that a guest may import, by name.
//! Source: proxy-wasm ABI 0.2.1, section "Functions implemented in the host environment".

use std::fmt;

use wasmtime::{Caller, Linker, Module};

use crate::wasm_host::abi::Status;
use super::guest::Guest;
use super::{process, stream, wasi};
use crate::wasm_host::guest::VmState;

/// Functions that filters of the Rust SDK import whether they call them or not, and that this host lacks.
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

/// A guest called what this host does not implement: the test must know, the guest must not go on.
#[derive(Debug)]
pub(in crate::wasm_host) struct Unsupported(String);

impl fmt::Display for Unsupported {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the wasm host does not implement {}", self.0)
    }
}

impl std::error::Error for Unsupported {}

/// Why a host function did not do what it was asked.
pub(super) enum Refusal {
    /// The guest is told.
    Status(Status),
    /// The guest ends here.
    Trap(wasmtime::Error),
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl From<wasmtime::Error> for Refusal {
    fn from(error: wasmtime::Error) -> Self {
        Self::Trap(error)
    }
}

pub(super) type Answer<T = ()> = Result<T, Refusal>;

/// Defines functions of module `env` by name and argument types; each call is counted.
macro_rules! define {
    ($linker:ident: $($module:ident::$name:ident($($arg:ident: $type:ty),*);)*) => {$(
        $linker.func_wrap("env", stringify!($name), |caller: Caller<'_, VmState>, $($arg: $type),*| {
            let mut guest = Guest::enter(caller, stringify!($name))?;
            let answer = match guest.is_withheld(stringify!($name)) {
                true => Err(Status::InternalFailure.into()),
                false => $module::$name(&mut guest, $($arg),*),
            };
            status(answer)
        })?;
    )*};
}

/// All functions that the module may call, those that this host lacks as a clear error.
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

/// What the guest gets back.
fn status(answer: Answer) -> wasmtime::Result<u32> {
    match answer {
        Ok(()) => Ok(Status::Ok as u32),
        Err(Refusal::Status(status)) => Ok(status as u32),
        Err(Refusal::Trap(error)) => Err(error),
    }
}
