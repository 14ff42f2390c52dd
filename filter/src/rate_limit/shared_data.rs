//! The shared data of the proxy-wasm ABI, as far as buckets need it.

/// The value of a key in shared data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SharedValue {
    /// The value, and the version (`cas`) for [`SharedData::replace`].
    Found(Vec<u8>, u32),
    /// The key does not exist.
    Missing,
    /// The host call failed.
    Unreadable,
}

/// The data that all workers of an Envoy share, with compare-and-swap.
pub trait SharedData {
    /// Reads a key.
    fn read(&self, key: &str) -> SharedValue;

    /// Writes the value if the key still has this version (`None`: unconditionally); returns whether it was written.
    fn replace(&self, key: &str, value: &[u8], version: Option<u32>) -> bool;
}
