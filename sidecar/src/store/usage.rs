//! The usage of clients that several sidecars share, in sums of an hour.

use std::sync::Arc;

/// Milliseconds of an hour.
pub(in crate::store) const HOUR_MS: u64 = 3_600_000;

/// Sums of turns. The order of the fields is that of their numbers in Redis.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UsageSums {
    /// Requested turns.
    pub requests: u64,
    /// Failed turns.
    pub errors: u64,
    /// Tokens of prompts, including cached ones.
    pub prompt_tokens: u64,
    /// Prompt tokens from the provider's cache.
    pub cached_tokens: u64,
    /// Tokens of completions, including reasoning.
    pub completion_tokens: u64,
    /// Completion tokens spent on reasoning.
    pub reasoning_tokens: u64,
    /// Tokens of prompts and completions.
    pub total_tokens: u64,
}

impl UsageSums {
    pub(in crate::store) fn numbers(&self) -> [u64; 7] {
        [
            self.requests,
            self.errors,
            self.prompt_tokens,
            self.cached_tokens,
            self.completion_tokens,
            self.reasoning_tokens,
            self.total_tokens,
        ]
    }

    /// Sets the sum with this number.
    pub(in crate::store) fn set(&mut self, number: usize, value: u64) {
        let sum = match number {
            0 => &mut self.requests,
            1 => &mut self.errors,
            2 => &mut self.prompt_tokens,
            3 => &mut self.cached_tokens,
            4 => &mut self.completion_tokens,
            5 => &mut self.reasoning_tokens,
            6 => &mut self.total_tokens,
            _ => return, // Of a later version.
        };
        *sum = value;
    }
}

/// The usage of one turn.
#[derive(Debug, Clone)]
pub struct UsageCount {
    /// The client.
    pub client: Arc<str>,
    /// Arrival of the request, in milliseconds since the Unix epoch.
    pub ts: u64,
    /// The numbers of the turn.
    pub sums: UsageSums,
}

/// The usage of an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsageHour {
    /// The start of the hour, in milliseconds since the Unix epoch.
    pub start_ms: u64,
    /// The sums of its turns.
    pub sums: UsageSums,
}

impl UsageHour {
    /// Returns the end of the hour.
    pub fn end_ms(&self) -> u64 {
        self.start_ms + HOUR_MS
    }
}
