//! Timestamps that a child writes into its deltas and a client in another process reads.

use std::fmt;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// The base of the digits.
const BASE: u32 = 36;

/// Digits of a timestamp in nanoseconds since the start of the machine; enough for 4 years. A delta with one has few more
/// characters than a long token of a model.
const DIGITS: usize = 11;

/// A point in time of the monotonic clock of clock_gettime(2), which all processes of a machine share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(Duration);

/// Returns the current time.
pub fn now() -> Timestamp {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("Linux has a monotonic clock");
    Timestamp(now.into())
}

impl Timestamp {
    /// Returns the timestamps that directly follow a `marker` in `text`, in order.
    pub fn after<'a>(marker: &'a str, text: &'a str) -> impl Iterator<Item = Self> + 'a {
        text.match_indices(marker)
            .filter_map(move |(at, _)| Self::parse(&text[at + marker.len()..]))
    }

    fn parse(text: &str) -> Option<Self> {
        let nanoseconds = u64::from_str_radix(text.get(..DIGITS)?, BASE).ok()?;
        Some(Self(Duration::from_nanos(nanoseconds)))
    }

    /// Time from `earlier` to this timestamp, or zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_nanos();
        let mut digits = [char::default(); DIGITS];
        // All of them, because the parser reads a fixed number.
        for digit in digits.iter_mut().rev() {
            let value = u32::try_from(rest % u128::from(BASE)).unwrap_or_default();
            *digit = char::from_digit(value, BASE).unwrap_or_default();
            rest /= u128::from(BASE);
        }
        f.write_str(&String::from_iter(digits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_found_after_their_marker() {
        let (first, second) = (now(), now());
        let text =
            format!(r#"x {{"delta":"{first} "}} "delta":"+none-at-all" "delta":"{second} ""#);
        let found: Vec<_> = Timestamp::after("\"delta\":\"", &text).collect();
        assert_eq!(found, [first, second]);
        assert!(second >= first && first.since(second).is_zero());
    }
}
