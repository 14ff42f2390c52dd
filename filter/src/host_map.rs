//! One call into the host that the SDK makes more costly than it is: the request head, handed over as it is.
//! The proxy-wasm ABI 0.2.1, `proxy_get_header_map_pairs`. The SDK copies each of the map's names and values into
//! strings of their own, which takes as many instructions in Envoy as the call itself.

#![expect(
    unsafe_code,
    reason = "the ABI is C: the host writes an address and a length"
)]

/// The host's number for the map of request fields.
const HTTP_REQUEST_HEADERS: u32 = 0;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
}

/// The serialized map of request fields; `None` when the host has none.
pub(crate) fn request_head() -> Option<Vec<u8>> {
    let (mut data, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: both addresses are of live locals that the host fills before it returns.
    let status =
        unsafe { proxy_get_header_map_pairs(HTTP_REQUEST_HEADERS, &raw mut data, &raw mut size) };
    if status != 0 || data.is_null() {
        return None;
    }
    // SAFETY: by the ABI the host took these bytes from `proxy_on_memory_allocate`, which the SDK defines as a boxed
    // slice of exactly this size, and they are ours from here on.
    Some(unsafe { Vec::from_raw_parts(data, size, size) })
}
