//! An instance of the module: the VM of a worker, its callbacks, and their cost.
//! Follows the proxy-wasm ABI 0.2.1, section "Lifecycle", with the order of calls of Envoy 1.40.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use wasmtime::{Instance, Store, Val};

use super::FilterModule;
use crate::wasm_host::abi::wire_len;
use crate::wasm_host::guest::{CallbackUsage, LogLine, StreamView, VmState};
use crate::wasm_host::imports::Unsupported;
use crate::wasm_host::state::HostState;

/// The most instructions of one callback, some seconds' worth. Envoy has no limit, but a test must end.
const CALLBACK_FUEL: u64 = 10_000_000_000;

/// The end of a VM: a panic, an access out of bounds, an endless loop.
#[derive(Clone, Debug)]
pub struct Trap {
    /// The callback that trapped.
    pub callback: &'static str,
    /// The message of the engine.
    pub message: String,
}

impl fmt::Display for Trap {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "trap in {}: {}", self.callback, self.message)
    }
}

/// The start or the update failed; Envoy would exit, or reject the update.
#[derive(Clone, Debug)]
pub struct StartError {
    /// The callback that returned false, or the trap.
    pub reason: String,
    /// The log of the filter: the only explanation for an operator.
    pub logs: Vec<LogLine>,
}

impl fmt::Display for StartError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.reason)?;
        for line in &self.logs {
            write!(formatter, "; {:?}: {}", line.level, line.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for StartError {}

/// The VM of a worker.
pub(in crate::wasm_host) struct Vm {
    store: Store<VmState>,
    instance: Instance,
    root: u32,
    last_context: u32,
}

impl Vm {
    /// Instantiates the module and configures its first root context.
    pub(in crate::wasm_host) fn start(
        module: &FilterModule,
        shared: &Arc<HostState>,
        configuration: &[u8],
    ) -> Result<Self, StartError> {
        let state = VmState {
            shared: shared.clone(),
            memory: None,
            allocate: None,
            streams: BTreeMap::new(),
            context: 0,
            plugin_configuration: None,
            tick_period: None,
            random: shared.next_seed(),
            calls_before_trap: None,
            failing_call: shared.settings.failing_call.clone(),
            usage: CallbackUsage::default(),
        };
        let mut store = Store::new(module.engine(), state);
        let instance = module.instantiate(&mut store);
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

    /// Adds a root context with this configuration, as Envoy does if an update keeps the VM.
    pub(in crate::wasm_host) fn configure(
        &mut self,
        configuration: &[u8],
    ) -> Result<(), StartError> {
        let root = self.next_context();
        let accepted = self.configure_root(root, configuration);
        self.state().plugin_configuration = None;
        match accepted {
            Ok(None) => {
                self.root = root;
                Ok(())
            }
            Ok(Some(callback)) => Err(self.start_error(format!("{callback} returned false"))),
            Err(trap) => Err(self.start_error(trap.to_string())),
        }
    }

    /// Runs the callbacks of a new root context; returns the name of one that returned false.
    fn configure_root(
        &mut self,
        root: u32,
        configuration: &[u8],
    ) -> Result<Option<&'static str>, Trap> {
        self.enter(root);
        self.call("proxy_on_context_create", &[root, 0], 0)?;
        let vm_size = wire_len(self.state().shared.settings.vm_configuration.len());
        if self.call("proxy_on_vm_start", &[root, vm_size], 1)? == 0 {
            return Ok(Some("proxy_on_vm_start"));
        }
        self.state().plugin_configuration = Some(configuration.to_vec());
        let size = wire_len(configuration.len());
        let accepted = self.call("proxy_on_configure", &[root, size], 1)? != 0;
        Ok((!accepted).then_some("proxy_on_configure"))
    }

    /// Creates the context of a stream and returns its id; ids are not reused.
    pub(in crate::wasm_host) fn open_stream(
        &mut self,
        view: StreamView,
    ) -> (u32, Result<(), Trap>) {
        let id = self.next_context();
        self.state().streams.insert(id, view);
        self.enter(id);
        let created = self.call("proxy_on_context_create", &[id, self.root], 0);
        (id, created.map(drop))
    }

    /// Calls a stream callback and returns its result; 0 if the guest does not export it.
    pub(in crate::wasm_host) fn call_stream(
        &mut self,
        callback: &'static str,
        id: u32,
        args: &[u32],
    ) -> Result<u32, Trap> {
        self.enter(id);
        self.call(callback, &[&[id], args].concat(), 0)
    }

    /// Runs the last callbacks of a stream: log, done, delete.
    pub(in crate::wasm_host) fn close_stream(&mut self, id: u32) -> Result<(), Trap> {
        self.enter(id);
        self.call("proxy_on_log", &[id], 0)?;
        let done = self.call("proxy_on_done", &[id], 1)? != 0;
        assert!(done, "this host does not wait for proxy_done");
        self.call("proxy_on_delete", &[id], 0)?;
        self.state().streams.remove(&id);
        Ok(())
    }

    /// Runs the tick of the root context.
    pub(in crate::wasm_host) fn tick(&mut self) -> Result<(), Trap> {
        self.enter(self.root);
        self.call("proxy_on_tick", &[self.root], 0).map(drop)
    }

    /// Returns the state of one stream.
    pub(in crate::wasm_host) fn view(&mut self, id: u32) -> &mut StreamView {
        let view = self.state().streams.get_mut(&id);
        view.expect("a stream has its view from open_stream to close_stream")
    }

    pub(in crate::wasm_host) fn state(&mut self) -> &mut VmState {
        self.store.data_mut()
    }

    /// Returns the cost since the last call.
    pub(in crate::wasm_host) fn take_usage(&mut self) -> CallbackUsage {
        std::mem::take(&mut self.state().usage)
    }

    /// Returns the size of the guest's memory, which never shrinks.
    pub(in crate::wasm_host) fn memory_bytes(&self) -> usize {
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

    /// Calls an export and counts its fuel; returns `absent` if the guest lacks it.
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

/// Converts an engine error to a trap; a call of an unsupported function ends the test instead.
fn trap(callback: &'static str, error: &wasmtime::Error) -> Trap {
    if let Some(unsupported) = error.downcast_ref::<Unsupported>() {
        panic!("{callback}: {unsupported}");
    }
    Trap {
        callback,
        message: format!("{error:#}"),
    }
}
