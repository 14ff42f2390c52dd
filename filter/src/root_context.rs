//! What the streams of one worker share: the configuration, the counters, and the host as the core asks it.
//! The plugin of the proxy-wasm ABI 0.2.1; a new configuration is a new plugin.

use std::hash::{BuildHasher, RandomState};
use std::time::SystemTime;

use crate::config::{Config, ConfigError, Environment};
use crate::host::{self, Level, Metric};
use crate::metrics;
use crate::rejection::Outcome;
use crate::policy::Host;
use crate::rate_limit::{Entry, STRANGER_SLOTS, SharedData, create_buckets};

/// The plugin in one worker.
#[derive(Debug)]
pub(crate) struct Plugin {
    pub(crate) config: Config,
    pub(crate) metrics: Metrics,
}

impl Plugin {
    /// Reads the configuration, of so many bytes; none when it is refused, and then the log says why.
    pub(crate) fn configure(size: usize) -> Option<Self> {
        let (Some(json), Some(now)) = (host::plugin_configuration(size), host::now()) else {
            host::log(
                Level::Error,
                "configuration refused: the host does not hand it over",
            );
            return None;
        };
        Self::load(&json, now)
            .inspect_err(|error| {
                host::log(Level::Error, &format!("configuration refused: {error}"));
            })
            .ok()
    }

    fn load(json: &[u8], now: SystemTime) -> Result<Self, ConfigError> {
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            // What is not UTF-8 becomes text that no field accepts.
            Some((
                name.into_string().ok()?,
                value.to_string_lossy().into_owned(),
            ))
        });
        let environment: Environment = variables.collect();
        let config = Config::load(json, &environment, now)?;
        for warning in &config.warnings {
            host::log(Level::Warn, warning);
        }
        create_buckets(
            &Wasm,
            config.keyring.clients().map(|client| client.id.as_str()),
        );
        let clients = config.keyring.clients().count();
        record_buckets(clients);
        let configured = format!("configured: {clients} keys, auth {:?}", config.auth);
        host::log(Level::Info, &configured);
        Ok(Self {
            config,
            metrics: Metrics::define(),
        })
    }
}

/// The host, for what a decision may ask of it.
pub(crate) struct Wasm;

impl SharedData for Wasm {
    fn read(&self, key: &str) -> Entry {
        host::shared_data(key)
    }

    fn replace(&self, key: &str, value: &[u8], version: Option<u32>) -> bool {
        host::set_shared_data(key, value, version)
    }
}

impl Host for Wasm {
    fn now(&self) -> Option<SystemTime> {
        host::now()
    }

    fn is_http1(&self) -> bool {
        host::property("request\0protocol").is_some_and(|protocol| protocol.starts_with(b"HTTP/1"))
    }

    fn client_address(&self) -> Option<Vec<u8>> {
        host::property("source\0address")
    }

    fn fresh_request_id(&self) -> String {
        let random = || RandomState::new().hash_one(());
        format!("{:016x}{:016x}", random(), random())
    }
}

/// Envoy's handles of the counters.
#[derive(Debug)]
pub(crate) struct Metrics {
    requests: Vec<u32>,
    scanned_bytes: u32,
}

impl Metrics {
    fn define() -> Self {
        let counter = |name: &str| host::define_metric(Metric::Counter, name).unwrap_or_default();
        Self {
            requests: Outcome::all()
                .map(|outcome| counter(&metrics::requests(outcome)))
                .collect(),
            scanned_bytes: counter(metrics::SCANNED_BYTES),
        }
    }

    /// Counts a request that ended so.
    pub(crate) fn count(&self, outcome: Outcome) {
        if let Some(id) = self.requests.get(outcome.index()) {
            host::increment_metric(*id, 1);
        }
    }

    /// Counts a request that goes on, and what was read of its body.
    pub(crate) fn count_forwarded(&self, scanned_bytes: usize) {
        self.count(Outcome::Forwarded);
        if let Ok(bytes @ 1..) = i64::try_from(scanned_bytes) {
            host::increment_metric(self.scanned_bytes, bytes);
        }
    }
}

/// Tells how many buckets there are in shared data.
fn record_buckets(clients: usize) {
    if let Some(gauge) = host::define_metric(Metric::Gauge, metrics::RATE_LIMIT_BUCKETS) {
        host::record_metric(gauge, (clients + usize::from(STRANGER_SLOTS)) as u64);
    }
}
