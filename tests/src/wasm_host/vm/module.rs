//! A compiled filter, compiled once per process and file.
//! Follows the proxy-wasm ABI 0.2.1, section "Exports", and the checks of Envoy at load.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use wasmtime::{
    Config, Engine, Instance, InstancePre, Module, OptLevel, Store, ensure, format_err,
};

use crate::wasm_host::guest::VmState;
use crate::wasm_host::imports;

/// The names of the guest's allocator, in the order in which Envoy tries them.
const ALLOCATORS: [&str; 2] = ["malloc", "proxy_on_memory_allocate"];

/// A module, ready for instantiation.
#[derive(Clone)]
pub struct FilterModule {
    instance_pre: InstancePre<VmState>,
}

impl FilterModule {
    /// Loads and compiles a file, or returns the module of an earlier call.
    ///
    /// # Errors
    /// The file cannot be read, or [`Self::new`] rejects it.
    pub fn load(path: &Path) -> wasmtime::Result<Self> {
        static COMPILED: OnceLock<Mutex<HashMap<PathBuf, FilterModule>>> = OnceLock::new();
        let mut compiled = COMPILED
            .get_or_init(Mutex::default)
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = compiled.get(path) {
            return Ok(module.clone());
        }
        let bytes = std::fs::read(path)
            .map_err(|error| format_err!("cannot read {}: {error}", path.display()))?;
        let module = Self::new(&bytes)?;
        compiled.insert(path.to_owned(), module.clone());
        Ok(module)
    }

    /// Compiles a module from its binary or text form.
    ///
    /// # Errors
    /// The bytes are not wasm, have another ABI, lack memory or allocator, or import an unknown function.
    pub fn new(wasm: &[u8]) -> wasmtime::Result<Self> {
        let mut config = Config::new();
        // Tests wait longer for the compiler than for its code; fuel does not depend on the optimisation.
        config
            .consume_fuel(true)
            .cranelift_opt_level(OptLevel::None);
        let engine = Engine::new(&config)?;
        let module = Module::new(&engine, wasm)?;
        check_exports(&module)?;
        let linker = imports::linker(&module)?;
        let instance_pre = linker.instantiate_pre(&module)?;
        Ok(Self { instance_pre })
    }

    /// Returns the names of the imported host functions, sorted.
    pub fn imports(&self) -> Vec<String> {
        let imports = self.instance_pre.module().imports();
        let mut names: Vec<_> = imports.map(|import| import.name().to_owned()).collect();
        names.sort();
        names
    }

    /// Returns the names of the exports, sorted.
    pub fn exports(&self) -> Vec<String> {
        let exports = self.instance_pre.module().exports();
        let mut names: Vec<_> = exports.map(|export| export.name().to_owned()).collect();
        names.sort();
        names
    }

    pub(in crate::wasm_host) fn engine(&self) -> &Engine {
        self.instance_pre.module().engine()
    }

    /// Creates an instance, and stores its memory and allocator in the store's data.
    pub(in crate::wasm_host) fn instantiate(&self, store: &mut Store<VmState>) -> Instance {
        store.set_fuel(u64::MAX).expect("the engine counts fuel");
        let instance = self
            .instance_pre
            .instantiate(&mut *store)
            .expect("a module without a start function instantiates");
        let memory = instance.get_memory(&mut *store, "memory");
        let allocate = ALLOCATORS
            .iter()
            .find_map(|name| instance.get_typed_func(&mut *store, name).ok());
        let state = store.data_mut();
        (state.memory, state.allocate) = (memory, allocate);
        instance
    }
}

impl fmt::Debug for FilterModule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut module = formatter.debug_struct("FilterModule");
        module.field("imports", &self.imports()).finish()
    }
}

fn check_exports(module: &Module) -> wasmtime::Result<()> {
    let has = |name: &str| module.get_export(name).is_some();
    ensure!(
        has("proxy_abi_version_0_2_1"),
        "the module does not export proxy_abi_version_0_2_1"
    );
    ensure!(has("memory"), "the module does not export its memory");
    ensure!(
        ALLOCATORS.iter().any(|name| has(name)),
        "the module exports no allocator"
    );
    Ok(())
}
