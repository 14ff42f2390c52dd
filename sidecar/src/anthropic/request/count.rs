//! `/v1/messages/count_tokens`: an estimate of the tokens of a request, four characters each.
//! Anthropic API reference, "Count tokens in a Message". Codex does not count tokens before a turn, and its tokenizer would
//! take more memory than the rest of the sidecar (`turn::truncate`).

use serde::Serialize;

use super::body::MessagesBody;
use super::parse::{reject_foreign, turn};
use crate::openai::chat::ClientReasoning;
use crate::openai::models::ModelAccess;
use crate::openai::request::body;
use crate::openai::response::json::to_json;
use crate::openai::{ApiError, IgnoredFields};
use crate::turn::{Profile, TurnRequest, Usage};

/// Pixels of a token of an image, the rule of thumb in Anthropic's documentation.
const PIXELS_PER_TOKEN: u64 = 750;

/// The most tokens of one image, which is scaled down above that.
const MAX_IMAGE_TOKENS: u64 = 1_568;

#[derive(Serialize)]
struct TokenCount {
    input_tokens: u64,
    /// An extension: the count is an estimate.
    estimated: bool,
}

/// Parses a body, and returns the body of the response.
///
/// # Errors
/// As for [`parse`](super::parse()); `max_tokens` is not required.
pub fn count_tokens(
    body: &[u8],
    models: &ModelAccess<'_>,
    profile: Profile,
    reasoning: ClientReasoning<'_>,
) -> Result<(Vec<u8>, IgnoredFields), ApiError> {
    let mut ignored = IgnoredFields::default();
    let body: MessagesBody = body::read(body, &mut ignored)?;
    reject_foreign(&body)?;
    let (turn, spec) = turn(body, models, profile, reasoning, ignored)?;
    let count = TokenCount {
        input_tokens: tokens(&turn),
        estimated: true,
    };
    Ok((to_json(&count), spec.options.ignored))
}

fn tokens(turn: &TurnRequest) -> u64 {
    let schema = turn.schema.as_ref().map_or(0, |schema| schema.get().len());
    let tools = turn.tools.offered.iter();
    let tool_chars: usize = tools
        .map(|tool| {
            tool.name.len() + tool.description.chars().count() + tool.parameters.get().len()
        })
        .sum();
    let chars = turn.prompt_chars() + schema + tool_chars;
    let images = turn.images().map(|image| {
        let tokens = image.pixels.div_ceil(PIXELS_PER_TOKEN);
        tokens.min(MAX_IMAGE_TOKENS)
    });
    Usage::estimate(chars, 0).input_tokens + images.sum::<u64>()
}
