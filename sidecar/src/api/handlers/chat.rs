//! `POST /v1/chat/completions`.

use std::sync::Arc;

use http::Response;
use hyper::body::Incoming;

use super::check_images::check_images;
use super::parse_body::parse_body;
use super::reply::{ReplyFormat, reply};
use super::sync_references::sync_references;
use crate::api::body::{self, RequestBody};
use crate::api::request::RequestContext;
use crate::api::response::BoxedBody;
use crate::api::start_turn::check_prompt;
use crate::api::state::AppState;
use crate::openai::responses::ClientResponses;
use crate::openai::{ApiError, ResponseOptions, chat};
use crate::turn::{ClientTurn, TurnRequest};

pub(in crate::api) async fn create(
    state: &Arc<AppState>,
    context: RequestContext<'_>,
    body: &mut Incoming,
) -> Result<Response<BoxedBody>, ApiError> {
    let body = body::read(state, context, body).await?;
    sync_references(state, context, &body).await?;
    let (mut turn, mut options) = parse_body(state, context, body, parse).await?;
    check_prompt(state, options.prompt_chars, "messages")?;
    check_images(state, &mut turn).await?;
    options.truncation.tools = state.config.tool_tail;
    reply(state, context, turn, ChatFormat(options)).await
}

/// The response format of chats.
struct ChatFormat(ResponseOptions);

impl ReplyFormat for ChatFormat {
    type Frames = chat::ChatChunkWriter;

    fn options(&self) -> &ResponseOptions {
        &self.0
    }

    fn into_frames(self) -> Self::Frames {
        chat::ChatChunkWriter::new(&self.0)
    }

    async fn collect(self, turn: ClientTurn) -> Result<Vec<u8>, ApiError> {
        chat::collect(&self.0, turn).await
    }
}

fn parse(
    state: &AppState,
    context: RequestContext<'_>,
    body: RequestBody,
) -> Result<(TurnRequest, ResponseOptions), ApiError> {
    let (models, profile) = (context.models(state), context.profile(state));
    let reasoning = context.reasoning(state);
    let stored = ClientResponses {
        store: &state.responses,
        client: context.client(),
    };
    // Tried second, since nearly every body is one of a chat.
    let parsed = chat::parse(body.bytes(), &models, profile, reasoning).or_else(|error| {
        chat::parse_response_body(body.bytes(), &models, profile, &stored, reasoning)
            .unwrap_or(Err(error))
    });
    let (turn, options) = parsed?;
    let turn = turn.with_hint(context.session_name());
    // The turn owns what it needs; a body may be 16 MiB and the turn may wait in the queue.
    Ok((body.into_turn(turn)?, options))
}
