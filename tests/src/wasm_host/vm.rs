//! One instance of the module: a worker's VM, its callbacks, and what a callback costs.
//! Source: proxy-wasm ABI 0.2.1, section "Lifecycle"; order of the calls as in Envoy 1.40.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::{Instance, Memory, Store, TypedFunc, Val};

use super::abi::{LogLevel, wire_len};
use super::host::{StartError, World};
use super::imports::Unsupported;
use super::view::StreamView;

/// Instructions that one callback may take, some seconds' worth; Envoy sets no limit, a test should end.
const CALLBACK_FUEL: u64 = 10_000_000_000;

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

/// The end of a VM: a panic, an access out of bounds, a loop without end.
#[derive(Clone, Debug)]
pub struct Trap {
    /// The callback in which it happened.
    pub callback: &'static str,
    /// What the engine says.
    pub message: String,
}

impl fmt::Display for Trap {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "trap in {}: {}", self.callback, self.message)
    }
}

/// What some callbacks took together.
#[derive(Clone, Debug, Default)]
pub(super) struct Usage {
    pub(super) fuel: u64,
    pub(super) calls: Calls,
    pub(super) logs: Vec<LogLine>,
}

impl Usage {
    pub(super) fn absorb(&mut self, other: Usage) {
        self.fuel += other.fuel;
        self.logs.extend(other.logs);
        for (name, count) in other.calls {
            *self.calls.entry(name).or_default() += count;
        }
    }
}

/// What host functions find in the store.
pub(super) struct VmState {
    pub(super) world: Arc<World>,
    pub(super) memory: Option<Memory>,
    pub(super) allocate: Option<TypedFunc<u32, u32>>,
    /// Streams of which the guest has a context.
    pub(super) streams: BTreeMap<u32, StreamView>,
    /// The context that the running callback belongs to.
    pub(super) context: u32,
    /// Readable during `proxy_on_configure` only.
    pub(super) plugin_configuration: Option<Vec<u8>>,
    pub(super) tick_period: Option<Duration>,
    pub(super) random: u64,
    /// Host calls until the VM is made to trap.
    pub(super) calls_before_trap: Option<u64>,
    /// The host call that fails.
    pub(super) withheld: Option<String>,
    pub(super) usage: Usage,
}

/// A worker's VM.
pub(super) struct Vm {
    store: Store<VmState>,
    instance: Instance,
    root: u32,
    last_context: u32,
}

impl Vm {
    /// Instantiates the module and configures its first root context.
    pub(super) fn start(world: &Arc<World>, configuration: &[u8]) -> Result<Self, StartError> {
        let state = VmState {
            world: world.clone(),
            memory: None,
            allocate: None,
            streams: BTreeMap::new(),
            context: 0,
            plugin_configuration: None,
            tick_period: None,
            random: world.next_seed(),
            calls_before_trap: None,
            withheld: world.settings.withheld.clone(),
            usage: Usage::default(),
        };
        let mut store = Store::new(world.module.engine(), state);
        let instance = world.module.instantiate(&mut store);
        let mut vm = Self {
            store,
            instance,
            root: 0,
            last_context: 0,
        };
        let initialized = vm.call("_initialize", &[], 0);
        initialized.map_err(|trap| vm.start_error(trap.to_string()))?;
        vm.configure(configuration)?;
        Ok(vm)
    }

    /// Adds a root context with this configuration, as Envoy does when an update keeps the VM.
    pub(super) fn configure(&mut self, configuration: &[u8]) -> Result<(), StartError> {
        let root = self.next_context();
        let accepted = self.configure_root(root, configuration);
        self.state().plugin_configuration = None;
        match accepted {
            Ok(None) => {
                self.root = root;
                Ok(())
            }
            Ok(Some(callback)) => Err(self.start_error(format!("{callback} said no"))),
            Err(trap) => Err(self.start_error(trap.to_string())),
        }
    }

    /// Runs the callbacks of a new root context; names the one that said no.
    fn configure_root(
        &mut self,
        root: u32,
        configuration: &[u8],
    ) -> Result<Option<&'static str>, Trap> {
        self.enter(root);
        self.call("proxy_on_context_create", &[root, 0], 0)?;
        let vm_size = wire_len(self.state().world.settings.vm_configuration.len());
        if self.call("proxy_on_vm_start", &[root, vm_size], 1)? == 0 {
            return Ok(Some("proxy_on_vm_start"));
        }
        self.state().plugin_configuration = Some(configuration.to_vec());
        let size = wire_len(configuration.len());
        let accepted = self.call("proxy_on_configure", &[root, size], 1)? != 0;
        Ok((!accepted).then_some("proxy_on_configure"))
    }

    /// Creates the context of a stream and returns its id; ids never come again.
    pub(super) fn open_stream(&mut self, view: StreamView) -> (u32, Result<(), Trap>) {
        let id = self.next_context();
        self.state().streams.insert(id, view);
        self.enter(id);
        let created = self.call("proxy_on_context_create", &[id, self.root], 0);
        (id, created.map(drop))
    }

    /// Calls back on a stream; answers what the guest returned, 0 when it has no such callback.
    pub(super) fn call_stream(
        &mut self,
        callback: &'static str,
        id: u32,
        args: &[u32],
    ) -> Result<u32, Trap> {
        self.enter(id);
        self.call(callback, &[&[id], args].concat(), 0)
    }

    /// Ends a stream: log, done, delete.
    pub(super) fn close_stream(&mut self, id: u32) -> Result<(), Trap> {
        self.enter(id);
        self.call("proxy_on_log", &[id], 0)?;
        let done = self.call("proxy_on_done", &[id], 1)? != 0;
        assert!(done, "this host does not wait for proxy_done");
        self.call("proxy_on_delete", &[id], 0)?;
        self.state().streams.remove(&id);
        Ok(())
    }

    /// Runs the tick of the root context.
    pub(super) fn tick(&mut self) -> Result<(), Trap> {
        self.enter(self.root);
        self.call("proxy_on_tick", &[self.root], 0).map(drop)
    }

    /// The state of one stream.
    pub(super) fn view(&mut self, id: u32) -> &mut StreamView {
        let view = self.state().streams.get_mut(&id);
        view.expect("a stream has its view from open_stream to close_stream")
    }

    pub(super) fn state(&mut self) -> &mut VmState {
        self.store.data_mut()
    }

    /// What was used since the last time.
    pub(super) fn take_usage(&mut self) -> Usage {
        std::mem::take(&mut self.state().usage)
    }

    /// The size of the guest's memory, which never shrinks.
    pub(super) fn memory_bytes(&self) -> usize {
        let memory = self.store.data().memory;
        memory.map_or(0, |memory| memory.data_size(&self.store))
    }

    fn next_context(&mut self) -> u32 {
        self.last_context += 1;
        self.last_context
    }

    fn enter(&mut self, context: u32) {
        self.state().context = context;
    }

    /// Calls an export and counts its fuel; `absent` is the answer of a guest without it.
    fn call(&mut self, name: &'static str, args: &[u32], absent: u32) -> Result<u32, Trap> {
        let Some(function) = self.instance.get_func(&mut self.store, name) else {
            return Ok(absent);
        };
        let args: Vec<Val> = args.iter().map(|arg| Val::I32(arg.cast_signed())).collect();
        let mut results = vec![Val::I32(0); function.ty(&self.store).results().len()];
        self.store
            .set_fuel(CALLBACK_FUEL)
            .expect("the engine counts fuel");
        let outcome = function.call(&mut self.store, &args, &mut results);
        let left = self.store.get_fuel().expect("the engine counts fuel");
        self.state().usage.fuel += CALLBACK_FUEL - left;
        match outcome {
            Ok(()) => Ok(results
                .first()
                .and_then(Val::i32)
                .map_or(0, i32::cast_unsigned)),
            Err(error) => Err(trap(name, &error)),
        }
    }

    fn start_error(&mut self, reason: String) -> StartError {
        let logs = self.take_usage().logs;
        StartError { reason, logs }
    }
}

impl fmt::Debug for Vm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut vm = formatter.debug_struct("Vm");
        vm.field("contexts", &self.last_context)
            .finish_non_exhaustive()
    }
}

/// A trap is the guest's; a call to what this host lacks is the test's problem and ends it.
fn trap(callback: &'static str, error: &wasmtime::Error) -> Trap {
    if let Some(unsupported) = error.downcast_ref::<Unsupported>() {
        panic!("{callback}: {unsupported}");
    }
    Trap {
        callback,
        message: format!("{error:#}"),
    }
}
