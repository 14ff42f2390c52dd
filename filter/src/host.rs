//! Envoy as the pure modules see it: time, properties, shared data, header maps, counters and the log.
//! The host calls of the proxy-wasm ABI 0.2.1, through `proxy_wasm::hostcalls`.
//!
//! A host call that fails must never let a request pass. Most of the functions here panic on a status that the SDK does
//! not expect; the VM traps, Envoy answers 503 and loads the filter again (`FAIL_RELOAD`). Where the SDK returns an
//! `Err`, the filter rejects the request itself.

use std::hash::{BuildHasher, RandomState};
use std::time::SystemTime;

use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, LogLevel, MapType, MetricType, Status};

use crate::header_mutation::HeaderMutation;
use crate::metrics::{self, RequestOutcome};
use crate::policy::PolicyHost;
use crate::rate_limit::{SharedData, SharedValue};

/// Envoy, for the questions of the policy.
#[derive(Debug)]
pub(crate) struct ProxyWasmHost;

impl SharedData for ProxyWasmHost {
    fn read(&self, key: &str) -> SharedValue {
        match hostcalls::get_shared_data(key) {
            Ok((None, None)) => SharedValue::Missing,
            Ok((value, version)) => {
                SharedValue::Found(value.unwrap_or_default(), version.unwrap_or_default())
            }
            Err(_) => SharedValue::Unreadable,
        }
    }

    fn replace(&self, key: &str, value: &[u8], version: Option<u32>) -> bool {
        hostcalls::set_shared_data(key, Some(value), version).is_ok()
    }
}

impl PolicyHost for ProxyWasmHost {
    fn now(&self) -> Option<SystemTime> {
        hostcalls::get_current_time().ok()
    }

    fn is_http1(&self) -> bool {
        property(["request", "protocol"]).is_some_and(|protocol| protocol.starts_with(b"HTTP/1"))
    }

    fn client_address(&self) -> Option<Vec<u8>> {
        property(["source", "address"])
    }

    fn fresh_request_id(&self) -> String {
        // std seeds each state anew from WASI's `random_get`, so the SDK needs no random crate.
        let random = || RandomState::new().hash_one(());
        format!("{:016x}{:016x}", random(), random())
    }
}

fn property(path: [&str; 2]) -> Option<Vec<u8>> {
    hostcalls::get_property(path.to_vec()).ok().flatten()
}

/// Returns part of the request body that Envoy holds.
pub(crate) fn request_body(start: usize, length: usize) -> Option<Vec<u8>> {
    hostcalls::get_buffer(BufferType::HttpRequestBody, start, length)
        .ok()
        .flatten()
}

/// Returns the plugin's configuration of `size` bytes, during `on_configure`.
pub(crate) fn plugin_configuration(size: usize) -> Option<Vec<u8>> {
    let json = hostcalls::get_buffer(BufferType::PluginConfiguration, 0, size).ok()?;
    // An empty configuration comes as no buffer; a shorter one than announced must not be read as "no restrictions".
    Some(json.unwrap_or_default()).filter(|json| json.len() == size)
}

/// Changes a header map; stops at the first change that fails.
pub(crate) fn apply<'a>(
    map: MapType,
    mutations: impl IntoIterator<Item = HeaderMutation<'a>>,
) -> Result<(), Status> {
    mutations
        .into_iter()
        .try_for_each(|mutation| match mutation {
            HeaderMutation::Set(name, value) => hostcalls::set_map_value(map, name, Some(&value)),
            HeaderMutation::Append(name, value) => hostcalls::add_map_value(map, name, &value),
            HeaderMutation::Remove(name) => hostcalls::remove_map_value(map, name),
        })
}

/// Takes a header out of a map.
pub(crate) fn take(map: MapType, name: &str) -> Option<Vec<u8>> {
    let value = hostcalls::get_map_value_bytes(map, name).ok().flatten()?;
    let _ = hostcalls::remove_map_value(map, name); // Only a number would reach the client.
    Some(value)
}

/// Writes a line to Envoy's log.
pub(crate) fn log(level: LogLevel, message: &str) {
    let _ = hostcalls::log(level, message); // There is no other place to report a failure of the log.
}

/// Ids of the filter's counters in Envoy.
#[derive(Debug)]
pub(crate) struct Counters {
    requests: Vec<u32>,
    scanned_bytes: u32,
}

impl Counters {
    /// Defines the counters, and sets the gauge of rate limit buckets.
    pub(crate) fn define(buckets: u64) -> Self {
        if let Ok(gauge) = hostcalls::define_metric(MetricType::Gauge, metrics::RATE_LIMIT_BUCKETS)
        {
            let _ = hostcalls::record_metric(gauge, buckets); // Metrics never decide on a configuration.
        }
        let counter =
            |name: &str| hostcalls::define_metric(MetricType::Counter, name).unwrap_or_default();
        Self {
            requests: RequestOutcome::all()
                .map(|outcome| counter(&metrics::requests(outcome)))
                .collect(),
            scanned_bytes: counter(metrics::SCANNED_BYTES),
        }
    }

    /// Counts a request by its outcome.
    pub(crate) fn count(&self, outcome: RequestOutcome) {
        if let Some(id) = self.requests.get(outcome.index()) {
            let _ = hostcalls::increment_metric(*id, 1); // A lost count is not worth a request.
        }
    }

    /// Counts a forwarded request and the bytes of its body that were scanned.
    pub(crate) fn count_forwarded(&self, scanned_bytes: usize) {
        self.count(RequestOutcome::Forwarded);
        // Envoy refuses to increment a counter by 0.
        if let Ok(bytes @ 1..) = i64::try_from(scanned_bytes) {
            let _ = hostcalls::increment_metric(self.scanned_bytes, bytes); // As above.
        }
    }
}
