//! What the filter asks its host.
//! The proxy-wasm ABI 0.2.1, "Functions implemented in the host environment". Where a host returns bytes, it has them
//! allocated by `proxy_on_memory_allocate`, and they belong to the filter from then on.

#![expect(
    unsafe_code,
    reason = "the ABI is C: addresses and lengths go both ways"
)]

use std::ptr::null_mut;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::rate_limit::Entry;

/// The host did not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused;

/// How loud a log line is.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(crate) enum Level {
    Info = 2,
    Warn = 3,
    Error = 4,
}

/// The fields of a message.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(crate) enum Fields {
    Request = 0,
    Response = 2,
}

/// How a metric counts.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(crate) enum Metric {
    Counter = 0,
    Gauge = 1,
}

const REQUEST_BODY: u32 = 0;
const PLUGIN_CONFIGURATION: u32 = 7;
const OK: u32 = 0;
const NOT_FOUND: u32 = 1;
/// For `proxy_send_local_response`: the answer has no gRPC status.
const NO_GRPC_STATUS: i32 = -1;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, text: *const u8, size: usize) -> u32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    fn proxy_get_buffer_bytes(
        buffer: u32,
        start: usize,
        length: usize,
        bytes: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_get_header_map_pairs(map: u32, bytes: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_add_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_remove_header_map_value(map: u32, name: *const u8, name_size: usize) -> u32;
    fn proxy_get_property(
        path: *const u8,
        path_size: usize,
        bytes: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_set_property(
        path: *const u8,
        path_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        bytes: *mut *mut u8,
        size: *mut usize,
        version: *mut u32,
    ) -> u32;
    fn proxy_set_shared_data(
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
        version: u32,
    ) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        fields: *const u8,
        fields_size: usize,
        grpc_status: i32,
    ) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, offset: i64) -> u32;
    fn proxy_record_metric(id: u32, value: u64) -> u32;
}

/// Writes a line to the host's log.
pub(crate) fn log(level: Level, text: &str) {
    // A line that cannot be written is nothing that could be told anybody.
    // SAFETY: the host reads this text and keeps nothing of it.
    unsafe { proxy_log(level as u32, text.as_ptr(), text.len()) };
}

/// The time of day.
pub(crate) fn now() -> Option<SystemTime> {
    let mut nanos = 0;
    // SAFETY: the address is of a live local that the host fills before it returns.
    done(unsafe { proxy_get_current_time_nanoseconds(&raw mut nanos) }).ok()?;
    Some(UNIX_EPOCH + Duration::from_nanos(nanos))
}

/// The plugin's configuration, during `proxy_on_configure`; one that nobody wrote is empty.
pub(crate) fn plugin_configuration(size: usize) -> Option<Vec<u8>> {
    buffer(PLUGIN_CONFIGURATION, 0, size)
}

/// Part of what is there of the request's body.
pub(crate) fn request_body(start: usize, length: usize) -> Option<Vec<u8>> {
    buffer(REQUEST_BODY, start, length)
}

fn buffer(buffer: u32, start: usize, length: usize) -> Option<Vec<u8>> {
    receive(|bytes, size| {
        // SAFETY: `receive` hands out addresses of live locals.
        unsafe { proxy_get_buffer_bytes(buffer, start, length, bytes, size) }
    })
    .ok()
}

/// The request's fields in the ABI's serialized form.
pub(crate) fn request_head() -> Option<Vec<u8>> {
    receive(|bytes, size| {
        // SAFETY: `receive` hands out addresses of live locals.
        unsafe { proxy_get_header_map_pairs(Fields::Request as u32, bytes, size) }
    })
    .ok()
}

impl Fields {
    /// Adds a field beside those of the same name.
    pub(crate) fn add(self, name: &str, value: &str) -> Result<(), Refused> {
        // SAFETY: the host reads both texts and keeps nothing of them.
        done(unsafe {
            proxy_add_header_map_value(
                self as u32,
                name.as_ptr(),
                name.len(),
                value.as_ptr(),
                value.len(),
            )
        })
    }

    /// Puts a field in the place of those of the same name.
    pub(crate) fn set(self, name: &str, value: &str) -> Result<(), Refused> {
        // SAFETY: the host reads both texts and keeps nothing of them.
        done(unsafe {
            proxy_replace_header_map_value(
                self as u32,
                name.as_ptr(),
                name.len(),
                value.as_ptr(),
                value.len(),
            )
        })
    }

    /// Takes all fields of this name away.
    pub(crate) fn remove(self, name: &str) -> Result<(), Refused> {
        // SAFETY: the host reads the name and keeps nothing of it.
        done(unsafe { proxy_remove_header_map_value(self as u32, name.as_ptr(), name.len()) })
    }
}

/// A property of the stream, whose path has a NUL between its parts.
pub(crate) fn property(path: &str) -> Option<Vec<u8>> {
    receive(|bytes, size| {
        // SAFETY: the host reads the path; `receive` hands out addresses of live locals.
        unsafe { proxy_get_property(path.as_ptr(), path.len(), bytes, size) }
    })
    .ok()
}

/// Leaves a value in the stream's filter state, where it is called `wasm.<name>`.
pub(crate) fn set_filter_state(name: &str, value: &str) -> Result<(), Refused> {
    // SAFETY: the host reads both texts and copies the value.
    done(unsafe { proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) })
}

/// What all workers share under a key.
pub(crate) fn shared_data(key: &str) -> Entry {
    let mut version = 0;
    let value = receive(|bytes, size| {
        // SAFETY: the host reads the key; `receive` hands out addresses of live locals, and so is that of the version.
        unsafe { proxy_get_shared_data(key.as_ptr(), key.len(), bytes, size, &raw mut version) }
    });
    match value {
        Ok(value) => Entry::Found(value, version),
        Err(NOT_FOUND) => Entry::Missing,
        Err(_) => Entry::Unreadable,
    }
}

/// Writes a value that all workers share, if it still has this version (`None`: whatever is there); tells whether.
pub(crate) fn set_shared_data(key: &str, value: &[u8], version: Option<u32>) -> bool {
    // SAFETY: the host reads key and value, and copies both.
    let status = unsafe {
        proxy_set_shared_data(
            key.as_ptr(),
            key.len(),
            value.as_ptr(),
            value.len(),
            version.unwrap_or(0),
        )
    };
    status == OK
}

/// Answers the request; the host carries it out when the callback has returned.
pub(crate) fn send_response(
    status: u16,
    fields: &[(&str, &str)],
    body: &str,
) -> Result<(), Refused> {
    let fields = serialize(fields);
    // SAFETY: the host reads body and fields, and copies both.
    done(unsafe {
        proxy_send_local_response(
            u32::from(status),
            "".as_ptr(),
            0,
            body.as_ptr(),
            body.len(),
            fields.as_ptr(),
            fields.len(),
            NO_GRPC_STATUS,
        )
    })
}

/// The host's handle of a metric, which is the same one for the same name.
pub(crate) fn define_metric(kind: Metric, name: &str) -> Option<u32> {
    let mut id = 0;
    // SAFETY: the host reads the name, and fills the live local before it returns.
    done(unsafe { proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &raw mut id) })
        .ok()?;
    Some(id)
}

/// Counts; a metric that the host does not know any more is not worth a request.
pub(crate) fn increment_metric(id: u32, offset: i64) {
    // SAFETY: numbers only.
    unsafe { proxy_increment_metric(id, offset) };
}

/// Sets a gauge.
pub(crate) fn record_metric(id: u32, value: u64) {
    // SAFETY: numbers only.
    unsafe { proxy_record_metric(id, value) };
}

/// The serialized form of fields: a count, pairs of lengths, then names and values, each followed by a NUL.
fn serialize(fields: &[(&str, &str)]) -> Vec<u8> {
    // Lengths of this filter's own replies: far from 2^32.
    let length = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    let mut bytes = length(fields.len()).to_vec();
    for (name, value) in fields {
        bytes.extend(length(name.len()));
        bytes.extend(length(value.len()));
    }
    for (name, value) in fields {
        for text in [name, value] {
            bytes.extend(text.as_bytes());
            bytes.push(0);
        }
    }
    bytes
}

fn done(status: u32) -> Result<(), Refused> {
    (status == OK).then_some(()).ok_or(Refused)
}

/// The bytes that a call returns at two addresses, or its status when it fails. No bytes at all come as a null address.
fn receive(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Vec<u8>, u32> {
    let (mut bytes, mut size) = (null_mut(), 0);
    match call(&raw mut bytes, &raw mut size) {
        OK => {}
        status => return Err(status),
    }
    if bytes.is_null() {
        return Ok(Vec::new());
    }
    // SAFETY: by the ABI the host took these bytes from `proxy_on_memory_allocate`, which makes a boxed slice of
    // exactly this size, and filled them; they are ours from here on.
    Ok(unsafe { Vec::from_raw_parts(bytes, size, size) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_serialized_as_the_abi_wants_them() {
        let bytes = b"\x02\0\0\0\x01\0\0\0\x02\0\0\0\x01\0\0\0\0\0\0\0a\0bc\0d\0\0";
        assert_eq!(serialize(&[("a", "bc"), ("d", "")]), bytes);
    }
}
