//! The result of a host function.

use crate::wasm_host::abi::Status;

/// The failure of a host function.
pub(super) enum CallError {
    /// The guest gets this status.
    Status(Status),
    /// The VM ends.
    Trap(wasmtime::Error),
}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl From<wasmtime::Error> for CallError {
    fn from(error: wasmtime::Error) -> Self {
        Self::Trap(error)
    }
}

/// The result of a host function; most return no value but through memory.
pub(super) type CallResult<T = ()> = Result<T, CallError>;
