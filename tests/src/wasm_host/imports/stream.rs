//! Host functions of a stream: header maps, bodies, properties, local replies.
//! Follows the proxy-wasm ABI 0.2.1, with the results of Envoy 1.40.

use super::guest::Guest;
use super::result::CallResult;
use crate::wasm_host::abi::{BufferKind, Direction, MapKind, Status, decode_pairs, encode_pairs};
use crate::wasm_host::guest::LocalReply;
use crate::wasm_host::headers::Headers;

/// Returns a map; a forwarded one is empty.
pub(super) fn proxy_get_header_map_pairs(
    guest: &mut Guest<'_>,
    map: u32,
    out: u32,
    out_len: u32,
) -> CallResult {
    let kind = MapKind::parse(map).ok_or(Status::BadArgument)?;
    let stream = guest.stream()?;
    let pairs = stream.map(kind).filter(|map| !map.is_empty());
    let wire = pairs.map(encode_pairs).unwrap_or_default();
    guest.give(&wire, out, out_len)
}

pub(super) fn proxy_set_header_map_pairs(
    guest: &mut Guest<'_>,
    map: u32,
    pairs: u32,
    len: u32,
) -> CallResult {
    let pairs = guest.read(pairs, len)?;
    *writable(guest, map)? = decode_pairs(&pairs).unwrap_or_default();
    Ok(())
}

pub(super) fn proxy_get_header_map_value(
    guest: &mut Guest<'_>,
    map: u32,
    name: u32,
    name_len: u32,
    out: u32,
    out_len: u32,
) -> CallResult {
    let kind = MapKind::parse(map).ok_or(Status::BadArgument)?;
    let name = guest.read_text(name, name_len)?;
    let stream = guest.stream()?;
    let value = match stream.map(kind) {
        Some(map) => map.get(&name).ok_or(Status::NotFound)?.to_vec(),
        None if stream.log_phase => return Err(Status::NotFound.into()),
        None => return Err(Status::BadArgument.into()),
    };
    guest.give(&value, out, out_len)
}

pub(super) fn proxy_add_header_map_value(
    guest: &mut Guest<'_>,
    map: u32,
    name: u32,
    name_len: u32,
    value: u32,
    value_len: u32,
) -> CallResult {
    let (name, value) = (guest.read(name, name_len)?, guest.read(value, value_len)?);
    writable(guest, map)?.add(name, value);
    Ok(())
}

pub(super) fn proxy_replace_header_map_value(
    guest: &mut Guest<'_>,
    map: u32,
    name: u32,
    name_len: u32,
    value: u32,
    value_len: u32,
) -> CallResult {
    let (name, value) = (guest.read(name, name_len)?, guest.read(value, value_len)?);
    writable(guest, map)?.set(name, value);
    Ok(())
}

pub(super) fn proxy_remove_header_map_value(
    guest: &mut Guest<'_>,
    map: u32,
    name: u32,
    name_len: u32,
) -> CallResult {
    let name = guest.read(name, name_len)?;
    writable(guest, map)?.remove(name);
    Ok(())
}

fn writable<'a>(guest: &'a mut Guest<'_>, map: u32) -> Result<&'a mut Headers, Status> {
    let kind = MapKind::parse(map).ok_or(Status::BadArgument)?;
    guest.stream()?.map_mut(kind)
}

/// Returns the available part of a range; a forwarded body is empty.
pub(super) fn proxy_get_buffer_bytes(
    guest: &mut Guest<'_>,
    buffer: u32,
    start: u32,
    max_len: u32,
    out: u32,
    out_len: u32,
) -> CallResult {
    let bytes = match BufferKind::parse(buffer).ok_or(Status::NotFound)? {
        BufferKind::Body(direction) => slice(body(guest, direction)?, start, max_len),
        BufferKind::VmConfiguration => {
            let settings = &guest.state().shared.settings;
            slice(settings.vm_configuration.as_bytes(), start, max_len)
        }
        BufferKind::PluginConfiguration => {
            let configuration = guest.state().plugin_configuration.as_deref();
            slice(configuration.ok_or(Status::NotFound)?, start, max_len)
        }
    };
    guest.give(&bytes, out, out_len)
}

fn body<'a>(guest: &'a mut Guest<'_>, direction: Direction) -> Result<&'a [u8], Status> {
    let half = guest.stream()?.half(direction);
    Ok(half.body.as_deref().unwrap_or_default())
}

fn slice(bytes: &[u8], start: u32, max_len: u32) -> Vec<u8> {
    let place = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    let rest = bytes.get(place(start)..).unwrap_or_default();
    rest.get(..place(max_len)).unwrap_or(rest).to_vec()
}

/// Prepends to, replaces, or appends to the whole body; Envoy allows no other range.
pub(super) fn proxy_set_buffer_bytes(
    guest: &mut Guest<'_>,
    buffer: u32,
    start: u32,
    len: u32,
    value: u32,
    value_len: u32,
) -> CallResult {
    let value = guest.read(value, value_len)?;
    let Some(BufferKind::Body(direction)) = BufferKind::parse(buffer) else {
        return Err(Status::BadArgument.into());
    };
    let body = guest
        .stream()?
        .half(direction)
        .body
        .as_mut()
        .ok_or(Status::BadArgument)?;
    let all = crate::wasm_host::abi::wire_len(body.len());
    match (start, len) {
        (0, 0) => drop(body.splice(..0, value)),
        (0, len) if len >= all => *body = value,
        (start, _) if start > 0 && start >= all => body.extend(value),
        _ => return Err(Status::BadArgument.into()),
    }
    Ok(())
}

pub(super) fn proxy_get_property(
    guest: &mut Guest<'_>,
    path: u32,
    path_len: u32,
    out: u32,
    out_len: u32,
) -> CallResult {
    let name = property_name(guest, path, path_len)?;
    let of_stream = guest
        .stream()
        .ok()
        .and_then(|stream| stream.properties.get(&name).cloned());
    let of_plugin = || guest.state().shared.settings.properties.get(&name).cloned();
    let value = of_stream.or_else(of_plugin).ok_or(Status::NotFound)?;
    guest.give(&value, out, out_len)
}

/// Stores filter state, which other filters read as `wasm.<name>`.
pub(super) fn proxy_set_property(
    guest: &mut Guest<'_>,
    path: u32,
    path_len: u32,
    value: u32,
    value_len: u32,
) -> CallResult {
    let name = property_name(guest, path, path_len)?;
    let value = guest.read(value, value_len)?;
    guest.stream()?.properties.insert(name, value);
    Ok(())
}

/// Returns the dotted name of a path whose parts are separated by NUL.
fn property_name(guest: &mut Guest<'_>, path: u32, path_len: u32) -> Result<String, Status> {
    let path = guest.read_text(path, path_len)?;
    Ok(path.trim_end_matches('\0').replace('\0', "."))
}

/// Stores the first local reply of a callback; it is sent after the callback, whatever the callback returns.
#[expect(clippy::too_many_arguments, reason = "the ABI's own argument list")]
pub(super) fn proxy_send_local_response(
    guest: &mut Guest<'_>,
    status: u32,
    details: u32,
    details_len: u32,
    body: u32,
    body_len: u32,
    headers: u32,
    headers_len: u32,
    _grpc_status: u32,
) -> CallResult {
    let headers = guest.read(headers, headers_len)?;
    let reply = LocalReply {
        status,
        headers: decode_pairs(&headers).unwrap_or_default(),
        body: guest.read(body, body_len)?,
        details: guest.read_text(details, details_len)?,
    };
    guest.stream()?.reply.get_or_insert(reply);
    Ok(())
}
