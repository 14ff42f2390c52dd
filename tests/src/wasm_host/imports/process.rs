//! Host functions without a stream: logs, time, shared data, metrics, rejected callouts.
//! Follows the proxy-wasm ABI 0.2.1, with the results of Envoy 1.40.

use std::time::Duration;

use super::guest::Guest;
use super::result::CallResult;
use crate::wasm_host::abi::{LogLevel, MetricKind, Status};
use crate::wasm_host::guest::LogLine;

pub(super) fn proxy_log(guest: &mut Guest<'_>, level: u32, text: u32, len: u32) -> CallResult {
    let level = LogLevel::parse(level).ok_or(Status::BadArgument)?;
    let message = guest.read_text(text, len)?;
    let logs = &mut guest.state().usage.logs;
    logs.push(LogLine { level, message });
    Ok(())
}

/// Logs at every level, as with `--component-log-level wasm:trace`.
pub(super) fn proxy_get_log_level(guest: &mut Guest<'_>, out: u32) -> CallResult {
    Ok(guest.write(out, &(LogLevel::Trace as u32).to_le_bytes())?)
}

pub(super) fn proxy_get_current_time_nanoseconds(guest: &mut Guest<'_>, out: u32) -> CallResult {
    let nanos = guest.state().shared.clock.wall_nanos();
    Ok(guest.write(out, &nanos.to_le_bytes())?)
}

pub(super) fn proxy_set_tick_period_milliseconds(guest: &mut Guest<'_>, millis: u32) -> CallResult {
    let period = Duration::from_millis(millis.into());
    guest.state().tick_period = (!period.is_zero()).then_some(period);
    Ok(())
}

pub(super) fn proxy_get_shared_data(
    guest: &mut Guest<'_>,
    key: u32,
    key_len: u32,
    out: u32,
    out_len: u32,
    out_cas: u32,
) -> CallResult {
    let key = guest.read(key, key_len)?;
    let entry = guest.state().shared.shared_data.get(&key);
    let (value, cas) = entry.ok_or(Status::NotFound)?;
    guest.give(&value, out, out_len)?;
    Ok(guest.write(out_cas, &cas.to_le_bytes())?)
}

pub(super) fn proxy_set_shared_data(
    guest: &mut Guest<'_>,
    key: u32,
    key_len: u32,
    value: u32,
    value_len: u32,
    cas: u32,
) -> CallResult {
    let key = guest.read(key, key_len)?;
    let value = guest.read(value, value_len)?;
    Ok(guest.state().shared.shared_data.set(&key, &value, cas)?)
}

pub(super) fn proxy_define_metric(
    guest: &mut Guest<'_>,
    kind: u32,
    name: u32,
    name_len: u32,
    out: u32,
) -> CallResult {
    let kind = MetricKind::parse(kind).ok_or(Status::BadArgument)?;
    let name = guest.read_text(name, name_len)?;
    let id = guest.state().shared.metrics.define(kind, &name);
    Ok(guest.write(out, &id.to_le_bytes())?)
}

pub(super) fn proxy_increment_metric(guest: &mut Guest<'_>, id: u32, offset: i64) -> CallResult {
    Ok(guest.state().shared.metrics.increment(id, offset)?)
}

pub(super) fn proxy_record_metric(guest: &mut Guest<'_>, id: u32, value: u64) -> CallResult {
    Ok(guest.state().shared.metrics.record(id, value)?)
}

pub(super) fn proxy_get_metric(guest: &mut Guest<'_>, id: u32, out: u32) -> CallResult {
    let value = guest.state().shared.metrics.get(id)?;
    Ok(guest.write(out, &value.to_le_bytes())?)
}

pub(super) fn proxy_set_effective_context(guest: &mut Guest<'_>, context: u32) -> CallResult {
    guest.state().context = context;
    Ok(())
}

/// Fails like a call to an unknown cluster.
#[expect(clippy::too_many_arguments, reason = "the ABI's own argument list")]
pub(super) fn proxy_http_call(
    _: &mut Guest<'_>,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
) -> CallResult {
    Err(Status::BadArgument.into())
}

/// Fails like a call to an unknown cluster.
#[expect(clippy::too_many_arguments, reason = "the ABI's own argument list")]
pub(super) fn proxy_grpc_call(
    _: &mut Guest<'_>,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
) -> CallResult {
    Err(Status::ParseFailure.into())
}

/// Fails: this host has no foreign functions.
pub(super) fn proxy_call_foreign_function(
    _: &mut Guest<'_>,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
) -> CallResult {
    Err(Status::NotFound.into())
}
