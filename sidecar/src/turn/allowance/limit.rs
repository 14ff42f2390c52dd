//! The names of a key's token limits, and the limit that ends a turn.
//! Windows follow UTC: a day, a month, or a time that rolls with the clock.

use std::fmt;

/// The window of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Period {
    /// From midnight to midnight, UTC.
    Day,
    /// A calendar month, UTC.
    Month,
    /// The last seconds.
    Rolling(u32),
}

/// The tokens that a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Input and output together.
    All,
    /// Input alone.
    Input,
    /// Output alone, reasoning included.
    Output,
}

/// The name of a limit, such as `day`, `month.output` or `5h.input`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LimitName {
    /// The window.
    pub period: Period,
    /// The tokens that count.
    pub scope: Scope,
}

/// A limit that is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpentLimit {
    /// The name of the limit.
    pub name: LimitName,
    /// The end of its window, in milliseconds since the Unix epoch.
    pub resets_at_ms: u64,
}

impl Period {
    /// Returns the number of the period in a store: the seconds of a rolling window, 0 for a day, -1 for a month.
    pub fn number(self) -> i64 {
        match self {
            Self::Day => 0,
            Self::Month => -1,
            Self::Rolling(seconds) => seconds.into(),
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Day => f.write_str("day"),
            Self::Month => f.write_str("month"),
            Self::Rolling(seconds) if seconds % 3600 == 0 => write!(f, "{}h", seconds / 3600),
            Self::Rolling(seconds) if seconds % 60 == 0 => write!(f, "{}m", seconds / 60),
            Self::Rolling(seconds) => write!(f, "{seconds}s"),
        }
    }
}

impl fmt::Display for LimitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scope = match self.scope {
            Scope::All => "",
            Scope::Input => ".input",
            Scope::Output => ".output",
        };
        write!(f, "{}{scope}", self.period)
    }
}
