//! Sums of turns, and the usage of clients that several sidecars share, in sums of an hour.

use std::sync::Arc;

use serde::Serialize;

/// Milliseconds of an hour.
pub(in crate::store) const HOUR_MS: u64 = 3_600_000;

/// Sums of turns. The order of the fields is that of their numbers in Redis.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
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
    /// Adds the numbers of further turns.
    pub fn add(&mut self, more: &Self) {
        for (sum, more) in self.fields_mut().into_iter().zip(more.numbers()) {
            // Saturating, because the numbers may be from a log that somebody has edited.
            *sum = sum.saturating_add(more);
        }
    }

    pub(in crate::store) fn numbers(mut self) -> [u64; 7] {
        self.fields_mut().map(|sum| *sum)
    }

    /// Sets the sum with this number. A later version may have more of them.
    pub(in crate::store) fn set(&mut self, number: usize, value: u64) {
        if let Some(sum) = self.fields_mut().into_iter().nth(number) {
            *sum = value;
        }
    }

    fn fields_mut(&mut self) -> [&mut u64; 7] {
        [
            &mut self.requests,
            &mut self.errors,
            &mut self.prompt_tokens,
            &mut self.cached_tokens,
            &mut self.completion_tokens,
            &mut self.reasoning_tokens,
            &mut self.total_tokens,
        ]
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
