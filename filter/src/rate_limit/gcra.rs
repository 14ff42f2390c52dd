//! A bucket: the generic cell rate algorithm (ITU-T I.371, annex A).
//! The state of a bucket is one instant, the time at which it is full again.

use std::num::NonZeroU32;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Exhausted, Quota, SharedData, SharedValue};

/// Nanoseconds by which the time of one charge may precede that of the charge before it.
///
/// Each worker reads the time before it writes the bucket, so one worker may be behind another by the duration of a
/// callback. Only a larger step means that the clock was set back.
const CLOCK_SLACK_NANOS: u64 = 1_000_000_000;

/// The most attempts to write a bucket that other workers write at the same time.
///
/// Each failure means that another worker succeeded, so a handful of workers does not reach this number. After the last
/// attempt the request is rejected.
const MAX_ATTEMPTS: u32 = 64;

/// The stored value of a full bucket.
pub(super) const FULL_BUCKET: [u8; 8] = [0; 8];

/// The size of a bucket in requests, and the rate of its refill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    requests: NonZeroU32,
    /// The time that refills one token; rounded up, so that a window refills at most `requests` tokens.
    nanos_per_request: u64,
}

impl RateLimit {
    /// A limit of `requests` for each window.
    pub fn new(requests: NonZeroU32, window: Duration) -> Self {
        let nanos = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX);
        Self {
            requests,
            nanos_per_request: nanos.div_ceil(u64::from(requests.get())),
        }
    }

    /// Takes a token from the bucket of this key.
    ///
    /// # Errors
    ///
    /// [`Exhausted`] if the bucket is empty or cannot be read, or after `MAX_ATTEMPTS` lost races.
    pub fn charge(
        &self,
        shared: &impl SharedData,
        key: &str,
        now: SystemTime,
    ) -> Result<Quota, Exhausted> {
        let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_nanos = u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX);
        for _ in 0..MAX_ATTEMPTS {
            let (bucket, version) = match shared.read(key) {
                SharedValue::Found(value, version) => (parse_bucket(&value), Some(version)),
                SharedValue::Missing => (0, None),
                SharedValue::Unreadable => break,
            };
            let Step { full_at, result } = self.take(bucket, now_nanos);
            // A rejection does not change the bucket, so it needs no write and loses no race.
            if full_at.is_none_or(|full_at| shared.replace(key, &full_at.to_le_bytes(), version)) {
                return result;
            }
        }
        // The state of the bucket is unknown, so report an empty one.
        let full_at = now_nanos.saturating_add(self.capacity_nanos());
        Err(self.exhausted(full_at, now_nanos))
    }

    /// A step of the algorithm. A step back of the clock adds no token: the time until the bucket is full grows by it.
    /// That time is limited to the capacity; if it exceeds the capacity by more than the slack, the bucket is empty.
    pub(super) fn take(&self, full_at: u64, now: u64) -> Step {
        let latest = now.saturating_add(self.capacity_nanos());
        if full_at > latest.saturating_add(CLOCK_SLACK_NANOS) {
            return Step {
                full_at: Some(latest),
                result: Err(self.exhausted(latest, now)),
            };
        }
        let next = full_at.max(now).saturating_add(self.nanos_per_request);
        if next > latest {
            return Step {
                full_at: None,
                result: Err(self.exhausted(full_at, now)),
            };
        }
        Step {
            full_at: Some(next),
            result: Ok(self.quota(next, now)),
        }
    }

    fn capacity_nanos(&self) -> u64 {
        self.nanos_per_request
            .saturating_mul(u64::from(self.requests.get()))
    }

    fn quota(&self, full_at: u64, now: u64) -> Quota {
        let missing_nanos = full_at.saturating_sub(now);
        let room_nanos = self.capacity_nanos().saturating_sub(missing_nanos);
        let remaining = room_nanos
            .checked_div(self.nanos_per_request)
            .unwrap_or_default();
        Quota {
            limit: self.requests.get(),
            remaining: u32::try_from(remaining).unwrap_or(u32::MAX),
            reset: Duration::from_nanos(missing_nanos),
        }
    }

    fn exhausted(&self, full_at: u64, now: u64) -> Exhausted {
        let next = full_at.max(now).saturating_add(self.nanos_per_request);
        let wait_nanos = next.saturating_sub(now.saturating_add(self.capacity_nanos()));
        Exhausted {
            quota: self.quota(full_at, now),
            retry_after: Duration::from_nanos(wait_nanos),
        }
    }
}

/// The result of one step, before it is written.
pub(super) struct Step {
    /// The new state of the bucket, if it changes.
    full_at: Option<u64>,
    pub(super) result: Result<Quota, Exhausted>,
}

/// Reads a stored bucket. A value that is not eight bytes was not written by this filter and counts as a full bucket.
pub(super) fn parse_bucket(value: &[u8]) -> u64 {
    value.try_into().map_or(0, u64::from_le_bytes)
}
