//! The clock of the ledger: the system's, or one that a test sets.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// A clock that tells the milliseconds since the Unix epoch.
#[derive(Clone)]
pub struct Clock(Option<Arc<dyn Fn() -> u64 + Send + Sync>>);

impl Clock {
    /// Returns the clock of the system.
    pub fn system() -> Self {
        Self(None)
    }

    /// Returns a clock that asks `now`.
    pub fn new(now: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(now)))
    }

    /// Returns the milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> u64 {
        self.set_ms().unwrap_or_else(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            since.map_or(0, |since| {
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
            })
        })
    }

    /// Returns the time of a clock that is not the system's. Redis uses its own in place of the system's.
    pub(super) fn set_ms(&self) -> Option<u64> {
        self.0.as_ref().map(|now| now())
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
