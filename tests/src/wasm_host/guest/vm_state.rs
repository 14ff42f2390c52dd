//! The data of a VM's store: read and written by host functions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::{Memory, TypedFunc};

use super::StreamView;
use crate::wasm_host::abi::LogLevel;
use crate::wasm_host::state::HostState;

/// The number of host calls by name.
pub type Calls = BTreeMap<&'static str, u64>;

/// A line that the guest logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// The log level.
    pub level: LogLevel,
    /// The text; bytes that are not UTF-8 are replaced.
    pub message: String,
}

/// The cost and the log lines of some callbacks.
#[derive(Clone, Debug, Default)]
pub(in crate::wasm_host) struct CallbackUsage {
    pub(in crate::wasm_host) fuel: u64,
    pub(in crate::wasm_host) calls: Calls,
    pub(in crate::wasm_host) logs: Vec<LogLine>,
}

impl CallbackUsage {
    pub(in crate::wasm_host) fn absorb(&mut self, other: CallbackUsage) {
        self.fuel += other.fuel;
        self.logs.extend(other.logs);
        for (name, count) in other.calls {
            *self.calls.entry(name).or_default() += count;
        }
    }
}

/// The data of a VM's store.
pub(in crate::wasm_host) struct VmState {
    pub(in crate::wasm_host) shared: Arc<HostState>,
    pub(in crate::wasm_host) memory: Option<Memory>,
    pub(in crate::wasm_host) allocate: Option<TypedFunc<u32, u32>>,
    /// The streams with a context in the guest.
    pub(in crate::wasm_host) streams: BTreeMap<u32, StreamView>,
    /// The context of the running callback.
    pub(in crate::wasm_host) context: u32,
    /// Present during `proxy_on_configure` only.
    pub(in crate::wasm_host) plugin_configuration: Option<Vec<u8>>,
    pub(in crate::wasm_host) tick_period: Option<Duration>,
    pub(in crate::wasm_host) random: u64,
    /// The host calls that succeed before the VM traps.
    pub(in crate::wasm_host) calls_before_trap: Option<u64>,
    /// The host call that returns `InternalFailure`.
    pub(in crate::wasm_host) failing_call: Option<String>,
    pub(in crate::wasm_host) usage: CallbackUsage,
}
