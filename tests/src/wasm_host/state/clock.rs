//! The clocks of the guests, which move only when a test moves them.
//! Follows WASI preview 1 `clock_time_get`; proxy-wasm ABI 0.2.1 `proxy_get_current_time_nanoseconds`.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A wall clock that may jump and a monotonic clock that never goes back.
#[derive(Debug)]
pub struct Clock(Mutex<Reading>);

#[derive(Clone, Copy, Debug)]
struct Reading {
    wall: SystemTime,
    monotonic: Duration,
}

impl Clock {
    pub(in crate::wasm_host) fn new(wall: SystemTime) -> Self {
        Self(Mutex::new(Reading {
            wall,
            monotonic: Duration::ZERO,
        }))
    }

    /// Moves both clocks forward.
    pub fn advance(&self, by: Duration) {
        self.change(|reading| {
            reading.wall += by;
            reading.monotonic += by;
        });
    }

    /// Sets the wall clock, forwards or backwards.
    pub fn set_wall(&self, wall: SystemTime) {
        self.change(|reading| reading.wall = wall);
    }

    /// Returns the time of the wall clock.
    pub fn wall(&self) -> SystemTime {
        self.change(|reading| reading.wall)
    }

    /// Returns the wall clock in nanoseconds since 1970.
    pub(in crate::wasm_host) fn wall_nanos(&self) -> u64 {
        nanos(self.wall().duration_since(UNIX_EPOCH).unwrap_or_default())
    }

    /// Returns the monotonic clock in nanoseconds since the host started.
    pub(in crate::wasm_host) fn monotonic_nanos(&self) -> u64 {
        nanos(self.change(|reading| reading.monotonic))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Reading) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).expect("a test's clock stays before the year 2554")
}
