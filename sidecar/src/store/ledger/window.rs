//! The windows of limits. Tokens are counted in buckets: a day, a month, or a sixtieth of a rolling window.

use time::{Date, OffsetDateTime, UtcDateTime};

use crate::turn::Period;

/// Buckets of a rolling window. A token counts until its whole bucket has left the window, a sixtieth later at most.
const ROLLING_BUCKETS: u64 = 60;

/// Buckets of a period that are kept. One per step of the clock: a clock that jumps and returns finds the earlier ones.
pub(super) fn kept_buckets(period: Period) -> usize {
    match period {
        Period::Day => 62,
        Period::Month => 26,
        Period::Rolling(_) => 150,
    }
}

/// The window of a period at one moment. Times are milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    /// The start of the bucket that tokens are added to now.
    pub(super) bucket: u64,
    /// The start of the first bucket that counts.
    pub(super) first: u64,
    /// The start of the first bucket that does not count; a rolling window has none, so that a clock which was set back
    /// does not forget tokens.
    pub(super) end: u64,
}

impl Window {
    /// Returns the window of `period` at `now`.
    pub(super) fn at(period: Period, now: u64) -> Self {
        match period {
            Period::Day => {
                let day = now - now % DAY_MS;
                Self {
                    bucket: day,
                    first: day,
                    end: day + DAY_MS,
                }
            }
            Period::Month => month(now),
            Period::Rolling(_) => {
                let (length, bucket) = rolling(period);
                // A bucket counts as long as any part of it is within the window.
                let earliest = now.saturating_sub(length);
                Self {
                    bucket: now - now % bucket,
                    first: earliest - earliest % bucket,
                    end: u64::MAX,
                }
            }
        }
    }

    /// Returns the time at which the tokens of the bucket `oldest`, the first one with any, count no longer.
    pub(super) fn resets_at(&self, period: Period, oldest: Option<u64>) -> u64 {
        match period {
            Period::Day | Period::Month => self.end,
            Period::Rolling(_) => {
                let (length, bucket) = rolling(period);
                oldest.unwrap_or(self.bucket) + bucket + length
            }
        }
    }
}

const DAY_MS: u64 = 24 * 3600 * 1000;

/// Returns the milliseconds of a rolling window and of its buckets.
fn rolling(period: Period) -> (u64, u64) {
    let Period::Rolling(seconds) = period else {
        return (DAY_MS, DAY_MS);
    };
    let length = u64::from(seconds) * 1000;
    (length, length.div_ceil(ROLLING_BUCKETS))
}

fn month(now: u64) -> Window {
    let seconds = i64::try_from(now / 1000).unwrap_or(i64::MAX);
    // Out of range after the year 9999.
    let date = UtcDateTime::from_unix_timestamp(seconds).map_or(Date::MIN, UtcDateTime::date);
    let first = date.replace_day(1).unwrap_or(date);
    let next = match first.month() {
        time::Month::December => {
            Date::from_calendar_date(first.year() + 1, time::Month::January, 1)
        }
        month => Date::from_calendar_date(first.year(), month.next(), 1),
    };
    let start = start_ms(first);
    Window {
        bucket: start,
        first: start,
        end: next.map_or(u64::MAX, start_ms),
    }
}

fn start_ms(date: Date) -> u64 {
    let midnight: OffsetDateTime = date.midnight().assume_utc();
    u64::try_from(midnight.unix_timestamp()).unwrap_or(0) * 1000
}
