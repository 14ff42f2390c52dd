//! What host functions find in the store, and what they leave there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::{Memory, TypedFunc};

use super::StreamView;
use crate::wasm_host::abi::LogLevel;
use crate::wasm_host::state::World;

/// Host calls by name and number.
pub type Calls = BTreeMap<&'static str, u64>;

/// A line that the guest logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// How loud.
    pub level: LogLevel,
    /// The text, octets that are not UTF-8 replaced.
    pub message: String,
}

/// What some callbacks took together.
#[derive(Clone, Debug, Default)]
pub(in crate::wasm_host) struct Usage {
    pub(in crate::wasm_host) fuel: u64,
    pub(in crate::wasm_host) calls: Calls,
    pub(in crate::wasm_host) logs: Vec<LogLine>,
}

impl Usage {
    pub(in crate::wasm_host) fn absorb(&mut self, other: Usage) {
        self.fuel += other.fuel;
        self.logs.extend(other.logs);
        for (name, count) in other.calls {
            *self.calls.entry(name).or_default() += count;
        }
    }
}

/// What host functions find in the store.
pub(in crate::wasm_host) struct VmState {
    pub(in crate::wasm_host) world: Arc<World>,
    pub(in crate::wasm_host) memory: Option<Memory>,
    pub(in crate::wasm_host) allocate: Option<TypedFunc<u32, u32>>,
    /// Streams of which the guest has a context.
    pub(in crate::wasm_host) streams: BTreeMap<u32, StreamView>,
    /// The context that the running callback belongs to.
    pub(in crate::wasm_host) context: u32,
    /// Readable during `proxy_on_configure` only.
    pub(in crate::wasm_host) plugin_configuration: Option<Vec<u8>>,
    pub(in crate::wasm_host) tick_period: Option<Duration>,
    pub(in crate::wasm_host) random: u64,
    /// Host calls until the VM is made to trap.
    pub(in crate::wasm_host) calls_before_trap: Option<u64>,
    /// The host call that fails.
    pub(in crate::wasm_host) withheld: Option<String>,
    pub(in crate::wasm_host) usage: Usage,
}
