//! `POST /v1/messages` and `POST /v1/messages/count_tokens`: Anthropic's Messages API.

use std::sync::Arc;

use http::{Response, StatusCode};
use hyper::body::Incoming;

use super::check_images::check_images;
use super::parse_body::parse_body;
use super::reply::{ReplyFormat, reply};
use crate::anthropic::{self, MessageSpec, MessageWriter, prompt_too_long};
use crate::api::body::{self, RequestBody};
use crate::api::request::RequestContext;
use crate::api::response::{BoxedBody, ignored_header, json};
use crate::api::start_turn::check_prompt_or;
use crate::api::state::AppState;
use crate::openai::{ApiError, IgnoredFields, ResponseOptions};
use crate::turn::{ClientTurn, TurnRequest};

pub(in crate::api) async fn create(
    state: &Arc<AppState>,
    context: RequestContext<'_>,
    body: &mut Incoming,
) -> Result<Response<BoxedBody>, ApiError> {
    let body = body::read(state, context, body).await?;
    let (mut turn, spec) = parse_body(state, context, body, parse).await?;
    check_prompt_or(state, spec.options.prompt_chars, prompt_too_long)?;
    check_images(state, &mut turn).await?;
    let request_id = context.request_id();
    reply(state, context, turn, MessageFormat { spec, request_id }).await
}

/// The response format of messages.
struct MessageFormat {
    spec: MessageSpec,
    request_id: String,
}

impl ReplyFormat for MessageFormat {
    type Frames = MessageWriter;

    fn options(&self) -> &ResponseOptions {
        &self.spec.options
    }

    fn into_frames(self) -> Self::Frames {
        MessageWriter::new(self.spec, Some(self.request_id))
    }

    async fn collect(self, turn: ClientTurn) -> Result<Vec<u8>, ApiError> {
        anthropic::collect(&self.spec, turn).await
    }
}

/// Returns an estimate of the tokens of a request. It starts no turn.
pub(in crate::api) async fn count_tokens(
    state: &Arc<AppState>,
    context: RequestContext<'_>,
    body: &mut Incoming,
) -> Result<Response<BoxedBody>, ApiError> {
    let body = body::read(state, context, body).await?;
    let (count, ignored) = parse_body(state, context, body, parse_count).await?;
    let mut response = json(StatusCode::OK, count);
    response.headers_mut().extend(ignored_header(&ignored));
    Ok(response)
}

fn parse(
    state: &AppState,
    context: RequestContext<'_>,
    body: RequestBody,
) -> Result<(TurnRequest, MessageSpec), ApiError> {
    let (models, profile) = (context.models(state), context.profile(state));
    let (turn, spec) = anthropic::parse(body.bytes(), &models, profile, context.reasoning(state))?;
    // The session of an agent is a conversation; the user may have several.
    let turn = turn
        .with_hint(context.session_name())
        .with_hint(spec.user_id.as_deref());
    // The turn owns what it needs; a body may be 16 MiB and the turn may wait in the queue.
    Ok((body.into_turn(turn)?, spec))
}

fn parse_count(
    state: &AppState,
    context: RequestContext<'_>,
    body: RequestBody,
) -> Result<(Vec<u8>, IgnoredFields), ApiError> {
    let (models, profile) = (context.models(state), context.profile(state));
    let count = anthropic::count_tokens(body.bytes(), &models, profile, context.reasoning(state));
    drop(body); // Until here it was charged to the memory of the client.
    count
}
