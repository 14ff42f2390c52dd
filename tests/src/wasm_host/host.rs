//! The host: its settings, a start as strict as Envoy's, and workers that share data, clock and metrics.
//! Follows Envoy's wasm `PluginConfig`; start, update and `FAIL_RELOAD` as in Envoy 1.40.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::guest::LogLine;
use super::state::{Clock, HostState, Metrics, Settings, SharedData, StreamRules};
use super::vm::{FilterModule, StartError, Vm};
use super::worker::Worker;

/// Envoy's default of `per_connection_buffer_limit_bytes`.
const BUFFER_LIMIT_BYTES: usize = 1 << 20;

/// The default time of a test: 2026-01-01T00:00:00Z, in seconds since 1970.
const DEFAULT_NOW_SECS: u64 = 1_767_225_600;

/// The settings of a host, with Envoy's defaults.
#[derive(Debug)]
pub struct Builder {
    module: FilterModule,
    configuration: String,
    settings: Settings,
    now: SystemTime,
    workers: usize,
    shared_data: Arc<SharedData>,
}

impl Builder {
    /// The plugin's configuration, given to `proxy_on_configure`.
    #[must_use]
    pub fn config(mut self, configuration: impl Into<String>) -> Self {
        self.configuration = configuration.into();
        self
    }

    /// The VM's configuration, given to `proxy_on_vm_start`.
    #[must_use]
    pub fn vm_config(mut self, configuration: impl Into<String>) -> Self {
        self.settings.vm_configuration = configuration.into();
        self
    }

    /// An environment variable (`environment_variables`).
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        let environment = &mut self.settings.environment;
        environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// `allow_on_headers_stop_iteration`; off by default.
    #[must_use]
    pub fn hold_headers(mut self, hold_headers: bool) -> Self {
        self.settings.rules.hold_headers = hold_headers;
        self
    }

    /// The most bytes of a body that the filter may hold; 1 MiB by default.
    #[must_use]
    pub fn buffer_limit(mut self, bytes: usize) -> Self {
        self.settings.rules.buffer_limit_bytes = bytes;
        self
    }

    /// A host call that fails in every VM, as a call does that a `capability_restriction_config` does not list.
    #[must_use]
    pub fn fail_call(mut self, host_call: &str) -> Self {
        self.settings.failing_call = Some(host_call.to_owned());
        self
    }

    /// The start of the guest's clocks.
    #[must_use]
    pub fn now(mut self, now: SystemTime) -> Self {
        self.now = now;
        self
    }

    /// The number of workers, each with its own VM; 1 by default.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Shares data with another host, as plugins with one `vm_id` do.
    #[must_use]
    pub fn shared_data(mut self, shared_data: Arc<SharedData>) -> Self {
        self.shared_data = shared_data;
        self
    }

    /// Starts a canary VM and then every worker, as Envoy does.
    ///
    /// # Errors
    /// A callback returned false or the VM trapped; Envoy would exit.
    pub fn start(self) -> Result<Host, StartError> {
        let shared = Arc::new(HostState {
            settings: self.settings,
            clock: Clock::new(self.now),
            shared_data: self.shared_data,
            metrics: Metrics::default(),
            seeds: AtomicU64::new(1),
        });
        let mut canary = Vm::start(&self.module, &shared, self.configuration.as_bytes())?;
        let start_logs = canary.take_usage().logs;
        let workers = (0..self.workers)
            .map(|_| Worker::start(&self.module, &shared, &self.configuration))
            .collect::<Result<_, _>>()?;
        Ok(Host {
            module: self.module,
            shared,
            workers,
            start_logs,
        })
    }
}

/// A running filter in one Envoy.
#[derive(Debug)]
pub struct Host {
    module: FilterModule,
    shared: Arc<HostState>,
    workers: Vec<Worker>,
    start_logs: Vec<LogLine>,
}

impl Host {
    /// Returns the default settings for this module.
    pub fn builder(module: &FilterModule) -> Builder {
        let properties = [("plugin_name", "test"), ("plugin_root_id", "test")];
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.as_bytes().to_vec());
        Builder {
            module: module.clone(),
            configuration: String::new(),
            settings: Settings {
                vm_configuration: String::new(),
                environment: BTreeMap::new(),
                properties: properties.map(owned).into(),
                rules: StreamRules {
                    hold_headers: false,
                    buffer_limit_bytes: BUFFER_LIMIT_BYTES,
                },
                failing_call: None,
            },
            now: UNIX_EPOCH + Duration::from_secs(DEFAULT_NOW_SECS),
            workers: 1,
            shared_data: Arc::default(),
        }
    }

    /// Returns a worker by number.
    ///
    /// # Panics
    /// The number is too large.
    pub fn worker(&mut self, index: usize) -> &mut Worker {
        &mut self.workers[index]
    }

    /// Returns the workers; each may be used in its own thread.
    pub fn workers(&mut self) -> &mut [Worker] {
        &mut self.workers
    }

    /// Updates the configuration: a canary VM validates it, then the VM of each worker gets a new root context.
    ///
    /// # Errors
    /// The canary rejected it; the old configuration stays in use.
    pub fn update(&mut self, configuration: &str) -> Result<(), StartError> {
        Vm::start(&self.module, &self.shared, configuration.as_bytes())?;
        for worker in &mut self.workers {
            worker.update(configuration)?;
        }
        Ok(())
    }

    /// Returns the log of the canary's start.
    pub fn start_logs(&self) -> &[LogLine] {
        &self.start_logs
    }

    /// Returns the clock of the guests.
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// Returns the data that the workers share.
    pub fn shared_data(&self) -> &Arc<SharedData> {
        &self.shared.shared_data
    }

    /// Returns the metrics of all workers.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }
}
