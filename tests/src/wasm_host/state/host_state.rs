//! The state of a host, as its VMs see it: settings, clock, shared data, metrics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Clock, Metrics, SharedData};

/// The state that all VMs of a host share.
#[derive(Debug)]
pub(in crate::wasm_host) struct HostState {
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
    pub(in crate::wasm_host) rules: StreamRules,
    pub(in crate::wasm_host) failing_call: Option<String>,
}

impl HostState {
    /// Returns a seed that is unique among the VMs of this host.
    pub(in crate::wasm_host) fn next_seed(&self) -> u64 {
        self.seeds.fetch_add(1, Ordering::Relaxed)
    }
}

/// The settings of a host for its streams.
#[derive(Clone, Copy, Debug)]
pub(in crate::wasm_host) struct StreamRules {
    /// `allow_on_headers_stop_iteration`: a paused head stops the head only.
    pub(in crate::wasm_host) hold_headers: bool,
    /// The most bytes of a body that the filter may hold.
    pub(in crate::wasm_host) buffer_limit_bytes: usize,
}
