//! The guest during a host call: its memory, its allocator, its context.
//! Follows the proxy-wasm ABI 0.2.1, section "Memory management".

use wasmtime::{Caller, ensure};

use super::result::{CallError, CallResult};
use crate::wasm_host::abi::{Status, wire_len};
use crate::wasm_host::guest::StreamView;
use crate::wasm_host::guest::VmState;

/// A guest in the middle of a host call.
pub(super) struct Guest<'a>(Caller<'a, VmState>);

impl<'a> Guest<'a> {
    /// Counts the call.
    ///
    /// # Errors
    /// The test makes the VM trap in this call.
    pub(super) fn enter(
        mut caller: Caller<'a, VmState>,
        function: &'static str,
    ) -> wasmtime::Result<Self> {
        let state = caller.data_mut();
        *state.usage.calls.entry(function).or_default() += 1;
        if let Some(left) = &mut state.calls_before_trap {
            ensure!(*left > 0, "the test ends the VM in {function}");
            *left -= 1;
        }
        Ok(Self(caller))
    }

    /// Whether the test makes this call fail.
    pub(super) fn is_failing(&self, function: &str) -> bool {
        self.0.data().failing_call.as_deref() == Some(function)
    }

    pub(super) fn state(&mut self) -> &mut VmState {
        self.0.data_mut()
    }

    /// Returns the stream of the running callback; the root context has none.
    pub(super) fn stream(&mut self) -> Result<&mut StreamView, Status> {
        let state = self.state();
        let view = state.streams.get_mut(&state.context);
        view.ok_or(Status::BadArgument)
    }

    /// Copies bytes from the guest's memory.
    pub(super) fn read(&mut self, start: u32, len: u32) -> Result<Vec<u8>, Status> {
        let memory = self.memory();
        let bytes = memory.get(range(start, len)?);
        bytes.map(<[u8]>::to_vec).ok_or(Status::InvalidMemoryAccess)
    }

    /// Copies text from the guest's memory; bytes that are not UTF-8 are replaced.
    pub(super) fn read_text(&mut self, start: u32, len: u32) -> Result<String, Status> {
        let bytes = self.read(start, len)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    pub(super) fn read_u32(&mut self, start: u32) -> Result<u32, Status> {
        let bytes = self
            .read(start, 4)?
            .try_into()
            .map_err(|_| Status::InvalidMemoryAccess)?;
        Ok(u32::from_le_bytes(bytes))
    }

    pub(super) fn write(&mut self, start: u32, bytes: &[u8]) -> Result<(), Status> {
        let range = range(start, wire_len(bytes.len()))?;
        let target = self.memory_mut().get_mut(range);
        target
            .ok_or(Status::InvalidMemoryAccess)?
            .copy_from_slice(bytes);
        Ok(())
    }

    /// Returns bytes to the guest: in memory that the guest allocates and owns, with address and length at `out` and
    /// `out_len`.
    pub(super) fn give(&mut self, bytes: &[u8], out: u32, out_len: u32) -> CallResult {
        let place = if bytes.is_empty() {
            0
        } else {
            self.allocate(wire_len(bytes.len()))?
        };
        self.write(place, bytes)?;
        self.write(out, &place.to_le_bytes())?;
        self.write(out_len, &wire_len(bytes.len()).to_le_bytes())?;
        Ok(())
    }

    /// Allocates memory in the guest. The call re-enters the guest, which may move its memory.
    fn allocate(&mut self, len: u32) -> Result<u32, CallError> {
        let allocate = self
            .state()
            .allocate
            .clone()
            .expect("the module was checked for its allocator at load");
        match allocate.call(&mut self.0, len)? {
            0 => Err(CallError::Status(Status::InvalidMemoryAccess)),
            place => Ok(place),
        }
    }

    fn memory(&mut self) -> &[u8] {
        let memory = self.state().memory;
        memory.map_or(&[], |memory| memory.data(&self.0))
    }

    fn memory_mut(&mut self) -> &mut [u8] {
        let memory = self.state().memory;
        memory.map_or(&mut [], |memory| memory.data_mut(&mut self.0))
    }
}

fn range(start: u32, len: u32) -> Result<std::ops::Range<usize>, Status> {
    let start = usize::try_from(start).map_err(|_| Status::InvalidMemoryAccess)?;
    let len = usize::try_from(len).map_err(|_| Status::InvalidMemoryAccess)?;
    let end = start.checked_add(len);
    Ok(start..end.ok_or(Status::InvalidMemoryAccess)?)
}
