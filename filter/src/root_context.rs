//! The root context of a worker: loads the configuration and creates a context for each HTTP stream.
//! `RootContext` of the proxy-wasm Rust SDK, ABI 0.2.1.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{ContextType, LogLevel};

use crate::config::{Config, ConfigError, Environment};
use crate::host::{self, Counters, ProxyWasmHost};
use crate::http_context::{HttpStream, Plugin};
use crate::policy::PolicyHost;
use crate::rate_limit::{ADDRESS_BUCKETS, create_buckets};

proxy_wasm::main! {{
    // Also installs the panic hook that writes a panic's message to Envoy's log.
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::<FilterRoot>::default());
}}

thread_local! {
    /// The plugin of the last configuration. Envoy configures a new root context in the same VM; streams of the previous
    /// one keep their plugin, so that a weak reference finds it as long as any request is in flight.
    static PREVIOUS: RefCell<Weak<Plugin>> = RefCell::default();
}

/// The filter in one worker.
#[derive(Debug, Default)]
struct FilterRoot {
    /// Absent until a configuration is accepted. Envoy opens a stream only after that; the SDK traps otherwise.
    plugin: Option<Rc<Plugin>>,
}

impl Context for FilterRoot {}

impl RootContext for FilterRoot {
    fn on_configure(&mut self, size: usize) -> bool {
        let Some(mut plugin) = configure(size) else {
            self.plugin = None;
            return false;
        };
        let previous = PREVIOUS.with_borrow(Weak::upgrade);
        if let Some(previous) = previous {
            plugin.config.adopt_in_flight(&previous.config);
        }
        let plugin = Rc::new(plugin);
        PREVIOUS.set(Rc::downgrade(&plugin));
        self.plugin = Some(plugin);
        true
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        let plugin = self.plugin.clone()?;
        Some(Box::new(HttpStream::new(plugin)))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

/// Loads the configuration of `size` bytes; logs the reason when it is rejected.
fn configure(size: usize) -> Option<Plugin> {
    match load(size) {
        Ok(plugin) => Some(plugin),
        Err(error) => {
            host::log(LogLevel::Error, &format!("configuration rejected: {error}"));
            None
        }
    }
}

fn load(size: usize) -> Result<Plugin, ConfigError> {
    let unreadable = |name| ConfigError::new(name, "not provided by the host");
    let json = host::plugin_configuration(size).ok_or_else(|| unreadable("configuration"))?;
    let now = ProxyWasmHost.now().ok_or_else(|| unreadable("clock"))?;
    let config = Config::load(&json, &environment(), now)?;
    for warning in &config.warnings {
        host::log(LogLevel::Warn, warning);
    }
    let ids = config.keyring.clients().map(|client| client.id.as_str());
    create_buckets(&ProxyWasmHost, ids);
    let clients = config.keyring.clients().count();
    let counters = Counters::define(clients as u64 + u64::from(ADDRESS_BUCKETS));
    let message = format!("configured: {clients} keys, auth {:?}", config.auth);
    host::log(LogLevel::Info, &message);
    Ok(Plugin { config, counters })
}

/// Returns the variables of `vm_config.environment_variables`.
fn environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| {
            // A value that is not UTF-8 becomes text that no field accepts, so its field is rejected by name.
            Some((
                name.into_string().ok()?,
                value.to_string_lossy().into_owned(),
            ))
        })
        .collect()
}
