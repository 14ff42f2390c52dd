//! The limits of stored responses.

use std::num::NonZeroUsize;
use std::time::Duration;

/// The limits of the store. Beyond them, the least recently used responses of the client that keeps most are evicted.
#[derive(Debug, Clone, Copy)]
pub struct StoreLimits {
    /// Responses of all clients; `None` stores no response.
    pub responses: Option<NonZeroUsize>,
    /// Bytes of the responses and of the conversations that they continue.
    pub bytes: usize,
    /// Maximum age of a response; `None` is unlimited.
    pub age: Option<Duration>,
}
