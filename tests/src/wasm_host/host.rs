//! The host: settings, start-up as strict as Envoy's, workers that share data, clock and metrics.
//! Source: Envoy's wasm `PluginConfig`; start, update and `FAIL_RELOAD` as Envoy 1.40 behaves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::guest::LogLine;
use super::state::{Clock, Metrics, Rules, Settings, SharedData, World};
use super::vm::{FilterModule, StartError, Vm};
use super::worker::Worker;

/// Envoy's `per_connection_buffer_limit_bytes` unless told.
const BUFFER_LIMIT_BYTES: usize = 1 << 20;

/// Where a test's clock stands unless told: 2026-01-01T00:00:00Z, in seconds since 1970.
const DEFAULT_NOW_SECS: u64 = 1_767_225_600;

/// Settings of a host, all with Envoy's defaults.
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

    /// `allow_on_headers_stop_iteration`; off unless told.
    #[must_use]
    pub fn hold_headers(mut self, hold_headers: bool) -> Self {
        self.settings.rules.hold_headers = hold_headers;
        self
    }

    /// How much of a body the filter may hold; 1 MiB unless told.
    #[must_use]
    pub fn buffer_limit(mut self, bytes: usize) -> Self {
        self.settings.rules.buffer_limit_bytes = bytes;
        self
    }

    /// A host call that fails, as one does that is not on the list of a `capability_restriction_config`.
    #[must_use]
    pub fn withhold(mut self, host_call: &str) -> Self {
        self.settings.withheld = Some(host_call.to_owned());
        self
    }

    /// Where both clocks of the guest start.
    #[must_use]
    pub fn now(mut self, now: SystemTime) -> Self {
        self.now = now;
        self
    }

    /// How many workers, each with a VM of its own; 1 unless told.
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

    /// Starts a canary and then every worker, as Envoy does.
    ///
    /// # Errors
    /// A callback said no or the VM trapped; Envoy would exit.
    pub fn start(self) -> Result<Host, StartError> {
        let world = Arc::new(World {
            settings: self.settings,
            clock: Clock::new(self.now),
            shared_data: self.shared_data,
            metrics: Metrics::default(),
            seeds: AtomicU64::new(1),
        });
        let mut canary = Vm::start(&self.module, &world, self.configuration.as_bytes())?;
        let start_logs = canary.take_usage().logs;
        let workers = (0..self.workers)
            .map(|_| Worker::start(&self.module, &world, &self.configuration))
            .collect::<Result<_, _>>()?;
        Ok(Host {
            module: self.module,
            world,
            workers,
            start_logs,
        })
    }
}

/// A running filter, as one Envoy has it.
#[derive(Debug)]
pub struct Host {
    module: FilterModule,
    world: Arc<World>,
    workers: Vec<Worker>,
    start_logs: Vec<LogLine>,
}

impl Host {
    /// Settings for this module.
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
                rules: Rules {
                    hold_headers: false,
                    buffer_limit_bytes: BUFFER_LIMIT_BYTES,
                },
                withheld: None,
            },
            now: UNIX_EPOCH + Duration::from_secs(DEFAULT_NOW_SECS),
            workers: 1,
            shared_data: Arc::default(),
        }
    }

    /// A worker by number.
    ///
    /// # Panics
    /// There are fewer workers.
    pub fn worker(&mut self, index: usize) -> &mut Worker {
        &mut self.workers[index]
    }

    /// All workers; each may move to a thread of its own.
    pub fn workers(&mut self) -> &mut [Worker] {
        &mut self.workers
    }

    /// Replaces the configuration as an update does: a canary decides, then each worker's VM gets a new root context.
    ///
    /// # Errors
    /// The canary was refused; the old configuration goes on serving.
    pub fn update(&mut self, configuration: &str) -> Result<(), StartError> {
        Vm::start(&self.module, &self.world, configuration.as_bytes())?;
        for worker in &mut self.workers {
            worker.update(configuration)?;
        }
        Ok(())
    }

    /// What the filter logged while it started, once.
    pub fn start_logs(&self) -> &[LogLine] {
        &self.start_logs
    }

    /// The time that the guests see.
    pub fn clock(&self) -> &Clock {
        &self.world.clock
    }

    /// The data that the workers share.
    pub fn shared_data(&self) -> &Arc<SharedData> {
        &self.world.shared_data
    }

    /// What the workers count together.
    pub fn metrics(&self) -> &Metrics {
        &self.world.metrics
    }
}
