//! `POST /v1/chat/completions`.

use std::sync::Arc;

use http::{Response, StatusCode};
use hyper::body::Incoming;

use super::check_images::check_images;
use super::parse_body::parse_body;
use super::sync_references::sync_references;
use crate::api::body::{self, RequestBody};
use crate::api::request::RequestContext;
use crate::api::response::{BoxedBody, event_stream_response, ignored_header, json, thread_header};
use crate::api::start_turn::{check_prompt, hold_head, start_completion};
use crate::api::state::AppState;
use crate::openai::responses::ClientResponses;
use crate::openai::{ApiError, Delivery, ResponseOptions, chat, event_stream};
use crate::turn::TurnRequest;

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
    let mut turn = start_completion(state, context, turn, &options).await?;
    let origin = turn.origin();
    let mut response = match hold_head(state, options.delivery, &mut turn).await {
        Delivery::Stream { .. } => {
            let chunks = chat::ChatChunkWriter::new(&options);
            event_stream_response(event_stream(turn, chunks, context.keepalive(state)))
        }
        Delivery::Buffered | Delivery::Background | Delivery::BackgroundStream => {
            json(StatusCode::OK, chat::collect(&options, turn).await?)
        }
    };
    let headers = response.headers_mut();
    options.ignored.on_thread(&origin);
    headers.extend(ignored_header(&options.ignored));
    headers.extend(thread_header(&origin));
    Ok(response)
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
