//! Usage in Anthropic's shape: cached tokens of the prompt count apart from the others.

use serde::Serialize;

use crate::turn::Usage;

/// The usage of a message, in all events that have one.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct MessageUsage {
    input_tokens: u64,
    /// Always 0: the provider does not report the prompts that it puts into its cache.
    cache_creation_input_tokens: u64,
    cache_read_input_tokens: u64,
    output_tokens: u64,
    output_tokens_details: OutputTokensDetails,
    /// Not known, here and below; the API has these fields in each answer.
    cache_creation: Option<()>,
    inference_geo: Option<()>,
    server_tool_use: Option<()>,
    service_tier: Option<()>,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct OutputTokensDetails {
    thinking_tokens: u64,
}

impl From<Usage> for MessageUsage {
    fn from(usage: Usage) -> Self {
        let cached = usage.cached_input_tokens;
        Self {
            input_tokens: usage.input_tokens.saturating_sub(cached),
            cache_creation_input_tokens: 0,
            cache_read_input_tokens: cached,
            output_tokens: usage.output_tokens,
            output_tokens_details: OutputTokensDetails {
                thinking_tokens: usage.reasoning_tokens,
            },
            cache_creation: None,
            inference_geo: None,
            server_tool_use: None,
            service_tier: None,
        }
    }
}
