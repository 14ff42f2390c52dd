//! What all VMs of a host have in common: settings, clock, shared data, metrics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Clock, Metrics, SharedData};

/// What all VMs of a host have in common.
#[derive(Debug)]
pub(in crate::wasm_host) struct World {
    pub(in crate::wasm_host) settings: Settings,
    pub(in crate::wasm_host) clock: Clock,
    pub(in crate::wasm_host) shared_data: Arc<SharedData>,
    pub(in crate::wasm_host) metrics: Metrics,
    pub(in crate::wasm_host) seeds: AtomicU64,
}

#[derive(Debug)]
pub(in crate::wasm_host) struct Settings {
    pub(in crate::wasm_host) vm_configuration: String,
    pub(in crate::wasm_host) environment: BTreeMap<String, String>,
    pub(in crate::wasm_host) properties: BTreeMap<String, Vec<u8>>,
    pub(in crate::wasm_host) rules: Rules,
    pub(in crate::wasm_host) withheld: Option<String>,
}

impl World {
    /// A seed that no other VM of this host gets.
    pub(in crate::wasm_host) fn next_seed(&self) -> u64 {
        self.seeds.fetch_add(1, Ordering::Relaxed)
    }
}

/// The host's settings that bear on a stream.
#[derive(Clone, Copy, Debug)]
pub(in crate::wasm_host) struct Rules {
    /// `allow_on_headers_stop_iteration`: a paused head stops only the head.
    pub(in crate::wasm_host) hold_headers: bool,
    /// How much of a body the filter may hold.
    pub(in crate::wasm_host) buffer_limit_bytes: usize,
}
