//! The border between filter and host: what the filter may ask, and what it is asked.
//! The proxy-wasm ABI 0.2.1, written out here instead of taken from the Rust SDK. The SDK exports every callback that
//! there is, and a host enters the VM for each, whether anything is done there or not: 2,000 instructions a time, at
//! every piece of an answer that goes by. And a status that it does not expect ends the VM; here it refuses a request.

#![expect(
    unsafe_code,
    reason = "the ABI is C: addresses and lengths go both ways"
)]

mod callbacks;
pub(crate) mod calls;

/// What a host does with the part of a stream that it has just shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Action {
    /// It goes on.
    Continue = 0,
    /// It stays.
    Pause = 1,
}
