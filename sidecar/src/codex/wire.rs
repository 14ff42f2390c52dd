//! Parts of messages that both protocols share: token counts and rate limits.
//! `codex app-server` writes them in camel case, `codex proto` in snake case; the meaning is the same.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;

use super::rate_limits;
use crate::turn::Usage;

/// Token counts of one or more model calls.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct TokenCounts {
    #[serde(alias = "inputTokens")]
    input_tokens: u64,
    #[serde(alias = "cachedInputTokens")]
    cached_input_tokens: u64,
    #[serde(alias = "outputTokens")]
    output_tokens: u64,
    #[serde(alias = "reasoningOutputTokens")]
    reasoning_output_tokens: u64,
}

impl From<TokenCounts> for Usage {
    fn from(tokens: TokenCounts) -> Self {
        Self {
            input_tokens: tokens.input_tokens,
            cached_input_tokens: tokens.cached_input_tokens,
            output_tokens: tokens.output_tokens,
            reasoning_tokens: tokens.reasoning_output_tokens,
        }
    }
}

/// The rate limit windows of the Codex plan.
#[derive(Deserialize)]
pub(super) struct RateLimits {
    primary: Option<RateLimitWindow>,
    secondary: Option<RateLimitWindow>,
}

#[derive(Deserialize)]
struct RateLimitWindow {
    /// Percent.
    #[serde(default, alias = "usedPercent")]
    used_percent: f64,
    /// Minutes.
    #[serde(alias = "windowDurationMins")]
    window_minutes: Option<u64>,
    /// Seconds since the Unix epoch; `codex app-server` only.
    #[serde(rename = "resetsAt")]
    resets_at: Option<u64>,
    /// Seconds from the event; `codex proto` only.
    resets_in_seconds: Option<u64>,
}

impl From<RateLimits> for rate_limits::RateLimits {
    fn from(limits: RateLimits) -> Self {
        Self {
            primary: limits.primary.map(Into::into),
            secondary: limits.secondary.map(Into::into),
        }
    }
}

impl From<RateLimitWindow> for rate_limits::RateLimitWindow {
    fn from(window: RateLimitWindow) -> Self {
        let minutes = |minutes: u64| Duration::from_secs(minutes.saturating_mul(60));
        // Checked: a time that the clock cannot represent is an unknown one, and no reason to end the child.
        let at = |seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        let after = |seconds| SystemTime::now().checked_add(Duration::from_secs(seconds));
        Self {
            used_percent: window.used_percent,
            length: window.window_minutes.map(minutes),
            resets_at: window
                .resets_at
                .and_then(at)
                .or_else(|| window.resets_in_seconds.and_then(after)),
        }
    }
}
