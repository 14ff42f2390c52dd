//! `POST /v1/messages` and `POST /v1/messages/count_tokens`: Anthropic's Messages API.

use std::sync::Arc;

use http::{Response, StatusCode};
use hyper::body::Incoming;

use super::check_images::check_images;
use super::parse_body::parse_body;
use crate::anthropic::{self, MessageSpec, MessageWriter, prompt_too_long};
use crate::api::body::{self, RequestBody};
use crate::api::request::RequestContext;
use crate::api::response::{BoxedBody, event_stream_response, ignored_header, json, thread_header};
use crate::api::start_turn::{check_prompt_or, hold_head, start_completion};
use crate::api::state::AppState;
use crate::openai::{ApiError, Delivery, IgnoredFields, event_stream};
use crate::turn::TurnRequest;

pub(in crate::api) async fn create(
    state: &Arc<AppState>,
    context: RequestContext<'_>,
    body: &mut Incoming,
) -> Result<Response<BoxedBody>, ApiError> {
    let body = body::read(state, context, body).await?;
    let (mut turn, spec) = parse_body(state, context, body, parse).await?;
    check_prompt_or(state, spec.options.prompt_chars, prompt_too_long)?;
    check_images(state, &mut turn).await?;
    let mut turn = start_completion(state, context, turn, &spec.options).await?;
    let origin = turn.origin();
    let mut ignored = spec.options.ignored.clone();
    let mut response = match hold_head(state, spec.options.delivery, &mut turn).await {
        Delivery::Stream { .. } => {
            let writer = MessageWriter::new(spec, Some(context.request_id()));
            event_stream_response(event_stream(turn, writer, context.keepalive(state)))
        }
        Delivery::Buffered | Delivery::Background | Delivery::BackgroundStream => {
            json(StatusCode::OK, anthropic::collect(&spec, turn).await?)
        }
    };
    let headers = response.headers_mut();
    ignored.on_thread(&origin);
    headers.extend(ignored_header(&ignored));
    headers.extend(thread_header(&origin));
    Ok(response)
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
