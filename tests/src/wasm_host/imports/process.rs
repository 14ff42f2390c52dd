//! Host functions that belong to no stream: logs, time, shared data, metrics, refused callouts.
//! Source: proxy-wasm ABI 0.2.1, as Envoy 1.40 answers.

use std::time::Duration;

use super::guest::Guest;
use super::linker::Answer;
use crate::wasm_host::abi::{LogLevel, MetricKind, Status};
use crate::wasm_host::guest::LogLine;

pub(super) fn proxy_log(guest: &mut Guest<'_>, level: u32, text: u32, len: u32) -> Answer {
    let level = LogLevel::parse(level).ok_or(Status::BadArgument)?;
    let message = guest.read_text(text, len)?;
    let logs = &mut guest.state().usage.logs;
    logs.push(LogLine { level, message });
    Ok(())
}

/// Everything is logged here, as with `--component-log-level wasm:trace`.
pub(super) fn proxy_get_log_level(guest: &mut Guest<'_>, out: u32) -> Answer {
    Ok(guest.write(out, &(LogLevel::Trace as u32).to_le_bytes())?)
}

pub(super) fn proxy_get_current_time_nanoseconds(guest: &mut Guest<'_>, out: u32) -> Answer {
    let nanos = guest.state().world.clock.wall_nanos();
    Ok(guest.write(out, &nanos.to_le_bytes())?)
}

pub(super) fn proxy_set_tick_period_milliseconds(guest: &mut Guest<'_>, millis: u32) -> Answer {
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
) -> Answer {
    let key = guest.read(key, key_len)?;
    let entry = guest.state().world.shared_data.get(&key);
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
) -> Answer {
    let key = guest.read(key, key_len)?;
    let value = guest.read(value, value_len)?;
    Ok(guest.state().world.shared_data.set(&key, &value, cas)?)
}

pub(super) fn proxy_define_metric(
    guest: &mut Guest<'_>,
    kind: u32,
    name: u32,
    name_len: u32,
    out: u32,
) -> Answer {
    let kind = MetricKind::parse(kind).ok_or(Status::BadArgument)?;
    let name = guest.read_text(name, name_len)?;
    let id = guest.state().world.metrics.define(kind, &name);
    Ok(guest.write(out, &id.to_le_bytes())?)
}

pub(super) fn proxy_increment_metric(guest: &mut Guest<'_>, id: u32, offset: i64) -> Answer {
    Ok(guest.state().world.metrics.increment(id, offset)?)
}

pub(super) fn proxy_record_metric(guest: &mut Guest<'_>, id: u32, value: u64) -> Answer {
    Ok(guest.state().world.metrics.record(id, value)?)
}

pub(super) fn proxy_get_metric(guest: &mut Guest<'_>, id: u32, out: u32) -> Answer {
    let value = guest.state().world.metrics.get(id)?;
    Ok(guest.write(out, &value.to_le_bytes())?)
}

pub(super) fn proxy_set_effective_context(guest: &mut Guest<'_>, context: u32) -> Answer {
    guest.state().context = context;
    Ok(())
}

/// Refused as a call to an unknown cluster is.
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
) -> Answer {
    Err(Status::BadArgument.into())
}

/// Refused as a call to an unknown cluster is.
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
) -> Answer {
    Err(Status::ParseFailure.into())
}

/// This host registers no foreign functions.
pub(super) fn proxy_call_foreign_function(
    _: &mut Guest<'_>,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
) -> Answer {
    Err(Status::NotFound.into())
}
