//! A worker of Envoy: a VM that serves streams, and a new one after a trap.
//! Follows `failure_policy: FAIL_RELOAD` of Envoy 1.40, without its back-off.

use std::sync::Arc;
use std::time::Duration;

use super::state::HostState;
use super::stream::{Exchange, Message, Request, Response, Stream};
use super::vm::{FilterModule, StartError, Trap, Vm};

/// A worker; those of one host share data, clock and metrics.
#[derive(Debug)]
pub struct Worker {
    module: FilterModule,
    shared: Arc<HostState>,
    configuration: String,
    /// `None` after a trap, until the next request.
    vm: Option<Vm>,
    reloads: usize,
}

impl Worker {
    pub(super) fn start(
        module: &FilterModule,
        shared: &Arc<HostState>,
        configuration: &str,
    ) -> Result<Self, StartError> {
        let mut vm = Vm::start(module, shared, configuration.as_bytes())?;
        vm.take_usage();
        Ok(Self {
            module: module.clone(),
            shared: shared.clone(),
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

    /// Sends one request through the filter; `upstream` responds if the request is forwarded.
    pub fn exchange(
        &mut self,
        request: Request,
        upstream: impl FnMut(&Message) -> Response,
    ) -> Exchange {
        let mut exchanges = self.interleave([request], upstream);
        exchanges.pop().expect("one request, one exchange")
    }

    /// Sends concurrent requests: one callback of each in turn, until all have ended.
    ///
    /// # Panics
    /// The VM trapped before, and a new one does not start.
    pub fn interleave(
        &mut self,
        requests: impl IntoIterator<Item = Request>,
        mut upstream: impl FnMut(&Message) -> Response,
    ) -> Vec<Exchange> {
        let rules = self.shared.settings.rules;
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

    /// Runs the tick callback, whatever the period.
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

    /// Makes the VM trap in the next request after this many host calls, as an unexpected panic there would.
    pub fn trap_after(&mut self, host_calls: u64) {
        let mut vm = self.take_vm();
        vm.state().calls_before_trap = Some(host_calls);
        self.vm = Some(vm);
    }

    /// Makes a host call of this VM fail until [`Self::restore_calls`]; a VM that replaces it has the settings of the host.
    pub fn fail_call(&mut self, host_call: &str) {
        let mut vm = self.take_vm();
        vm.state().failing_call = Some(host_call.to_owned());
        self.vm = Some(vm);
    }

    /// Ends the failure of host calls in this VM.
    pub fn restore_calls(&mut self) {
        let mut vm = self.take_vm();
        vm.state().failing_call = None;
        self.vm = Some(vm);
    }

    /// Returns the tick period that the filter has set.
    pub fn tick_period(&mut self) -> Option<Duration> {
        self.vm.as_mut()?.state().tick_period
    }

    /// Returns the size of the guest's memory, which never shrinks; 0 after a trap.
    pub fn memory_bytes(&self) -> usize {
        self.vm.as_ref().map_or(0, Vm::memory_bytes)
    }

    /// Returns the number of VMs that trapped and were replaced.
    pub fn reloads(&self) -> usize {
        self.reloads
    }

    fn take_vm(&mut self) -> Vm {
        self.vm.take().unwrap_or_else(|| {
            self.reloads += 1;
            let mut vm = Vm::start(&self.module, &self.shared, self.configuration.as_bytes())
                .expect("the configuration was accepted before");
            vm.take_usage();
            vm
        })
    }
}
