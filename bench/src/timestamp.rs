//! Times that two processes can compare, as text within a delta.
//! The monotonic clock of clock_gettime(2), which is one for the whole machine.

use std::fmt;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Digits of a stamp: nanoseconds since the machine's start, for 31 years.
const DIGITS: usize = 18;

/// A moment of the machine's monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(Duration);

/// This moment.
pub fn now() -> Stamp {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("Linux has this clock");
    Stamp(now.into())
}

impl Stamp {
    /// The stamps at which a text begins behind each `marker`, in order.
    pub fn behind<'a>(marker: &'a str, text: &'a str) -> impl Iterator<Item = Self> + 'a {
        text.match_indices(marker)
            .filter_map(move |(at, _)| Self::parse(&text[at + marker.len()..]))
    }

    fn parse(text: &str) -> Option<Self> {
        let nanoseconds = text.get(..DIGITS)?.parse().ok()?;
        Some(Self(Duration::from_nanos(nanoseconds)))
    }

    /// Time from `earlier` to this, none if it is later.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0DIGITS$}", self.0.as_nanos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_found_behind_their_marker() {
        let (first, second) = (now(), now());
        let text = format!(r#"x {{"delta":"{first} "}} "delta":"none" "delta":"{second} ""#);
        let found: Vec<_> = Stamp::behind("\"delta\":\"", &text).collect();
        assert_eq!(found, [first, second]);
        assert!(second >= first && first.since(second).is_zero());
    }
}
