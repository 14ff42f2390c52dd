//! One worker of Envoy: a VM that serves streams, and a new one after a trap (`FAIL_RELOAD`).
//! Source: Envoy 1.40, `failure_policy: FAIL_RELOAD`, without its back-off.

use std::sync::Arc;
use std::time::Duration;

use super::state::World;
use super::stream::{Exchange, Message, Request, Response, Stream};
use super::vm::{FilterModule, StartError, Trap, Vm};

/// Serves requests; workers of one host share data, clock and metrics.
#[derive(Debug)]
pub struct Worker {
    module: FilterModule,
    world: Arc<World>,
    configuration: String,
    /// `None` after a trap, until the next request.
    vm: Option<Vm>,
    reloads: usize,
}

impl Worker {
    pub(super) fn start(module: &FilterModule, world: &Arc<World>, configuration: &str) -> Result<Self, StartError> {
        let mut vm = Vm::start(module, world, configuration.as_bytes())?;
        vm.take_usage();
        Ok(Self {
            module: module.clone(),
            world: world.clone(),
            configuration: configuration.to_owned(),
            vm: Some(vm),
            reloads: 0,
        })
    }

    pub(super) fn update(&mut self, configuration: &str) -> Result<(), StartError> {
        configuration.clone_into(&mut self.configuration);
        match &mut self.vm {
            Some(vm) => vm.configure(configuration.as_bytes()),
            None => Ok(()),
        }
    }

    /// Sends one request through the filter; `upstream` answers it when it gets there.
    pub fn exchange(
        &mut self,
        request: Request,
        upstream: impl FnMut(&Message) -> Response,
    ) -> Exchange {
        let mut exchanges = self.interleave([request], upstream);
        exchanges.pop().expect("one request, one exchange")
    }

    /// Sends requests that are open at the same time: one callback of each, in turn, until all are over.
    ///
    /// # Panics
    /// The VM trapped before and cannot be started again.
    pub fn interleave(
        &mut self,
        requests: impl IntoIterator<Item = Request>,
        mut upstream: impl FnMut(&Message) -> Response,
    ) -> Vec<Exchange> {
        let rules = self.world.settings.rules;
        let mut vm = self.take_vm();
        let mut streams: Vec<_> = requests
            .into_iter()
            .map(|request| Stream::open(&mut vm, request, rules))
            .collect();
        let mut open: Vec<&mut Stream> = streams.iter_mut().collect();
        let mut is_alive = true;
        while is_alive && !open.is_empty() {
            open.retain_mut(|stream| {
                is_alive && {
                    let over = stream.step(&mut vm, &mut upstream);
                    is_alive = !stream.has_trapped();
                    !over
                }
            });
        }
        if is_alive {
            vm.state().calls_before_trap = None;
            self.vm = Some(vm);
        }
        streams.into_iter().map(Stream::into_exchange).collect()
    }

    /// Runs the tick, whatever the period.
    ///
    /// # Errors
    /// The VM trapped; the next request gets a new one.
    pub fn tick(&mut self) -> Result<(), Trap> {
        let mut vm = self.take_vm();
        vm.tick()?;
        vm.take_usage();
        self.vm = Some(vm);
        Ok(())
    }

    /// Makes the VM trap in the next request, after so many host calls: what an unforeseen panic there would do.
    pub fn trap_after(&mut self, host_calls: u64) {
        let mut vm = self.take_vm();
        vm.state().calls_before_trap = Some(host_calls);
        self.vm = Some(vm);
    }

    /// Has a host call of this VM fail from now on.
    pub fn withhold(&mut self, host_call: &str) {
        let mut vm = self.take_vm();
        vm.state().withheld = Some(host_call.to_owned());
        self.vm = Some(vm);
    }

    /// The period that the filter asked for.
    pub fn tick_period(&mut self) -> Option<Duration> {
        self.vm.as_mut()?.state().tick_period
    }

    /// The size of the guest's memory, which never shrinks; 0 after a trap.
    pub fn memory_bytes(&self) -> usize {
        self.vm.as_ref().map_or(0, Vm::memory_bytes)
    }

    /// How many VMs this worker lost and replaced.
    pub fn reloads(&self) -> usize {
        self.reloads
    }

    fn take_vm(&mut self) -> Vm {
        self.vm.take().unwrap_or_else(|| {
            self.reloads += 1;
            let vm = Vm::start(&self.module, &self.world, self.configuration.as_bytes());
            let mut vm = vm.expect("the configuration was accepted before");
            vm.take_usage();
            vm
        })
    }
}
