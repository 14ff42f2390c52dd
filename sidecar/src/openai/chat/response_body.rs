//! A body of `/v1/responses` on the chat route, as Cursor sends it: `input` in place of `messages`, with flat tools.
//! The turn is that of `/v1/responses`; the answer has the shape of a chat.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::earlier_reasoning::ClientReasoning;
use crate::openai::models::ModelAccess;
use crate::openai::request::body;
use crate::openai::request::fields::{self, StreamOptions};
use crate::openai::response::options::ResponseOptions;
use crate::openai::responses::{self, ClientResponses};
use crate::openai::{ApiError, Delivery};
use crate::turn::{Profile, TurnRequest};

/// The fields that tell the two bodies apart, and the one that the answer of a chat needs.
#[derive(Deserialize)]
struct BodyShape {
    messages: Option<IgnoredAny>,
    input: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "body::object")]
    stream_options: Option<StreamOptions>,
}

/// Parses a body that has `input` and no `messages`; `None` for any other body, valid or not.
///
/// # Errors
/// Those of `responses::parse`, and 400 for `background`, since the answer of a chat cannot be polled.
pub fn parse_response_body(
    body: &[u8],
    models: &ModelAccess<'_>,
    profile: Profile,
    responses: &ClientResponses<'_>,
    reasoning: ClientReasoning<'_>,
) -> Option<Result<(TurnRequest, ResponseOptions), ApiError>> {
    let shape: BodyShape = serde_json::from_str(body::text(body).ok()?).ok()?;
    if shape.messages.is_some() || shape.input.is_none() {
        return None;
    }
    let parsed = responses::parse(body, models, profile, responses);
    Some(parsed.and_then(|(mut turn, spec)| {
        // The answer of a chat has no reasoning items, so that the client cannot send them back.
        turn.conversation = reasoning.restore(turn.conversation);
        as_chat(shape.stream_options.as_ref(), turn, spec.options)
    }))
}

fn as_chat(
    stream: Option<&StreamOptions>,
    turn: TurnRequest,
    mut options: ResponseOptions,
) -> Result<(TurnRequest, ResponseOptions), ApiError> {
    let include_usage = fields::include_usage(stream, None) == Some(true);
    options.delivery = match options.delivery {
        Delivery::Stream { .. } => Delivery::Stream { include_usage },
        Delivery::Buffered => Delivery::Buffered,
        Delivery::Background | Delivery::BackgroundStream => {
            let text = "Unsupported parameter `background` on this route: use /v1/responses.";
            return Err(ApiError::unsupported_parameter("background", text));
        }
    };
    Ok((turn, options))
}
