//! The functions of WASI that Envoy provides to filters: environment, clocks, random, output, exit.
//! Follows WASI preview 1 (`wasi_snapshot_preview1`), as far as Rust's standard library needs it.

use wasmtime::{Caller, Linker, format_err};

use super::guest::Guest;
use super::result::{CallError, CallResult};
use crate::wasm_host::abi::{LogLevel, wire_len};
use crate::wasm_host::guest::{LogLine, VmState};

const SUCCESS: u32 = 0;
const EBADF: u32 = 8;
const EFAULT: u32 = 21;
const EINVAL: u32 = 28;

const STDOUT: u32 = 1;
const STDERR: u32 = 2;

const CLOCK_REALTIME: u32 = 0;
const CLOCK_MONOTONIC: u32 = 1;

type Errno = u32;

macro_rules! define {
    ($linker:ident: $($name:ident($($arg:ident: $type:ty),*);)*) => {$(
        $linker.func_wrap("wasi_snapshot_preview1", stringify!($name), |caller: Caller<'_, VmState>, $($arg: $type),*| {
            let mut guest = Guest::enter(caller, stringify!($name))?;
            let result: CallResult<Errno> = $name(&mut guest, $($arg),*);
            errno(result)
        })?;
    )*};
}

/// Defines the functions of module `wasi_snapshot_preview1`.
///
/// # Errors
/// A name is defined twice.
pub(super) fn define(linker: &mut Linker<VmState>) -> wasmtime::Result<()> {
    define! { linker:
        environ_sizes_get(count: u32, size: u32);
        environ_get(pointers: u32, texts: u32);
        clock_time_get(clock: u32, precision: u64, out: u32);
        random_get(out: u32, len: u32);
        fd_write(fd: u32, vectors: u32, count: u32, written: u32);
    }
    let exit = |_: Caller<'_, VmState>, code: u32| -> wasmtime::Result<()> {
        Err(format_err!("the guest exited with code {code}"))
    };
    linker.func_wrap("wasi_snapshot_preview1", "proc_exit", exit)?;
    Ok(())
}

fn errno(result: CallResult<Errno>) -> wasmtime::Result<Errno> {
    match result {
        Ok(errno) => Ok(errno),
        Err(CallError::Status(_)) => Ok(EFAULT),
        Err(CallError::Trap(error)) => Err(error),
    }
}

fn environ_sizes_get(guest: &mut Guest<'_>, count: u32, size: u32) -> CallResult<Errno> {
    let environment = environment(guest);
    let bytes = environment.iter().map(Vec::len).sum();
    guest.write(count, &wire_len(environment.len()).to_le_bytes())?;
    guest.write(size, &wire_len(bytes).to_le_bytes())?;
    Ok(SUCCESS)
}

fn environ_get(guest: &mut Guest<'_>, pointers: u32, texts: u32) -> CallResult<Errno> {
    let (mut pointer, mut text) = (pointers, texts);
    for variable in environment(guest) {
        guest.write(pointer, &text.to_le_bytes())?;
        guest.write(text, &variable)?;
        pointer += 4;
        text += wire_len(variable.len());
    }
    Ok(SUCCESS)
}

/// Returns the variables as `NAME=value` with a NUL at the end.
fn environment(guest: &mut Guest<'_>) -> Vec<Vec<u8>> {
    let variables = guest.state().shared.settings.environment.iter();
    let texts = variables.map(|(name, value)| format!("{name}={value}\0"));
    texts.map(String::into_bytes).collect()
}

fn clock_time_get(
    guest: &mut Guest<'_>,
    clock: u32,
    _precision: u64,
    out: u32,
) -> CallResult<Errno> {
    let time = &guest.state().shared.clock;
    let nanos = match clock {
        CLOCK_REALTIME => time.wall_nanos(),
        CLOCK_MONOTONIC => time.monotonic_nanos(),
        _ => return Ok(EINVAL),
    };
    guest.write(out, &nanos.to_le_bytes())?;
    Ok(SUCCESS)
}

fn random_get(guest: &mut Guest<'_>, out: u32, len: u32) -> CallResult<Errno> {
    let bytes: Vec<u8> = (0..len).map(|_| next_random(guest.state())).collect();
    guest.write(out, &bytes)?;
    Ok(SUCCESS)
}

/// Returns the next byte of SplitMix64: the same in every run, different in each VM.
fn next_random(state: &mut VmState) -> u8 {
    state.random = state.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = state.random;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed.to_le_bytes()[7]
}

fn fd_write(
    guest: &mut Guest<'_>,
    fd: u32,
    vectors: u32,
    count: u32,
    out: u32,
) -> CallResult<Errno> {
    let level = match fd {
        STDOUT => LogLevel::Info,
        STDERR => LogLevel::Error,
        _ => return Ok(EBADF),
    };
    let mut text = Vec::new();
    for index in 0..count {
        let vector = vectors + index * 8;
        let (start, len) = (guest.read_u32(vector)?, guest.read_u32(vector + 4)?);
        text.extend(guest.read(start, len)?);
    }
    guest.write(out, &wire_len(text.len()).to_le_bytes())?;
    let message = String::from_utf8_lossy(&text).trim_end().to_owned();
    let logs = &mut guest.state().usage.logs;
    logs.push(LogLine { level, message });
    Ok(SUCCESS)
}
