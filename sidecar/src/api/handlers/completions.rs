//! `POST /v1/completions`, the legacy text completion.

use std::sync::Arc;

use http::Response;
use hyper::body::Incoming;

use super::parse_body::parse_body;
use super::reply::{ReplyFormat, reply};
use crate::api::body::{self, RequestBody};
use crate::api::request::RequestContext;
use crate::api::response::BoxedBody;
use crate::api::start_turn::check_prompt;
use crate::api::state::AppState;
use crate::openai::completions::PromptEcho;
use crate::openai::{ApiError, ResponseOptions, completions};
use crate::turn::{ClientTurn, ConversationDigest, TurnRequest};

pub(in crate::api) async fn create(
    state: &Arc<AppState>,
    context: RequestContext<'_>,
    body: &mut Incoming,
) -> Result<Response<BoxedBody>, ApiError> {
    let body = body::read(state, context, body).await?;
    let (turn, mut options, echo) = parse_body(state, context, body, parse).await?;
    check_prompt(state, options.prompt_chars, "prompt")?;
    options.truncation.tools = state.config.tool_tail;
    reply(state, context, turn, CompletionFormat { options, echo }).await
}

/// The response format of legacy completions.
struct CompletionFormat {
    options: ResponseOptions,
    echo: PromptEcho,
}

impl ReplyFormat for CompletionFormat {
    type Frames = completions::CompletionChunkWriter;

    fn options(&self) -> &ResponseOptions {
        &self.options
    }

    fn into_frames(self) -> Self::Frames {
        completions::CompletionChunkWriter::new(&self.options, self.echo)
    }

    async fn collect(self, turn: ClientTurn) -> Result<Vec<u8>, ApiError> {
        completions::collect(&self.options, self.echo, turn).await
    }
}

fn parse(
    state: &AppState,
    context: RequestContext<'_>,
    body: RequestBody,
) -> Result<(TurnRequest, ResponseOptions, PromptEcho), ApiError> {
    let models = context.models(state);
    let (turn, options, echo) = completions::parse(body.bytes(), &models, context.profile(state))?;
    // The turn owns what it needs; a body may be 16 MiB and the turn may wait in the queue.
    let mut turn = body.into_turn(turn)?;
    // A later request repeats the prompt and its completion as one text, which continues no thread.
    turn.digest = ConversationDigest::default();
    Ok((turn, options, echo))
}
