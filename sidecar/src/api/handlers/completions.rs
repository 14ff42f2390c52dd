//! `POST /v1/completions`, the legacy text completion.

use std::sync::Arc;

use http::{Response, StatusCode};
use hyper::body::Incoming;

use super::parse_body::parse_body;
use crate::api::body::{self, RequestBody};
use crate::api::request::RequestContext;
use crate::api::response::{BoxedBody, event_stream_response, ignored_header, json, thread_header};
use crate::api::start_turn::{check_prompt, hold_head, start_completion};
use crate::api::state::AppState;
use crate::openai::completions::PromptEcho;
use crate::openai::{ApiError, Delivery, ResponseOptions, completions, event_stream};
use crate::turn::{ConversationDigest, TurnRequest};

pub(in crate::api) async fn create(
    state: &Arc<AppState>,
    context: RequestContext<'_>,
    body: &mut Incoming,
) -> Result<Response<BoxedBody>, ApiError> {
    let body = body::read(state, context, body).await?;
    let (turn, mut options, echo) = parse_body(state, context, body, parse).await?;
    check_prompt(state, options.prompt_chars, "prompt")?;
    options.truncation.tools = state.config.tool_tail;
    let mut turn = start_completion(state, context, turn, &options).await?;
    let origin = turn.origin();
    let mut response = match hold_head(state, options.delivery, &mut turn).await {
        Delivery::Stream { .. } => {
            let chunks = completions::CompletionChunkWriter::new(&options, echo);
            event_stream_response(event_stream(turn, chunks, context.keepalive(state)))
        }
        Delivery::Buffered | Delivery::Background | Delivery::BackgroundStream => json(
            StatusCode::OK,
            completions::collect(&options, echo, turn).await?,
        ),
    };
    let headers = response.headers_mut();
    headers.extend(ignored_header(&options.ignored));
    headers.extend(thread_header(&origin));
    Ok(response)
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
