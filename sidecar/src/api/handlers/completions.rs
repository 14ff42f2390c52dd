//! `POST /v1/completions`, the legacy text completion.

use http::{Response, StatusCode};
use hyper::body::Incoming;

use crate::api::body;
use crate::api::request::RequestContext;
use crate::api::response::{BoxedBody, event_stream_response, ignored_header, json};
use crate::api::start_turn::{check_prompt, hold_head, start_completion};
use crate::api::state::AppState;
use crate::openai::{ApiError, Delivery, completions, event_stream};

pub(in crate::api) async fn create(
    state: &AppState,
    context: RequestContext<'_>,
    body: &mut Incoming,
) -> Result<Response<BoxedBody>, ApiError> {
    let body = body::read(state, context, body).await?;
    let models = context.models(state);
    let (turn, mut options, echo) =
        completions::parse(body.bytes(), &models, context.profile(state))?;
    // The turn owns what it needs; a body may be 16 MiB and the turn may wait in the queue.
    let turn = body.into_turn(turn)?;
    check_prompt(state, options.prompt_chars, "prompt")?;
    options.truncation.tools = state.config.tool_tail;
    let mut turn = start_completion(state, context, turn, &options).await?;
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
    response
        .headers_mut()
        .extend(ignored_header(&options.ignored));
    Ok(response)
}
