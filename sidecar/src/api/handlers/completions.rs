//! `POST /v1/completions`, the legacy text completion.

use http::{Response, StatusCode};
use hyper::body::Incoming;

use crate::api::request::RequestContext;
use crate::api::response::{Body, event_stream_response, ignored_header, json};
use crate::api::start_turn::{check_prompt, start_completion};
use crate::api::state::AppState;
use crate::openai::{ApiError, Delivery, completions, event_stream};

pub(in crate::api) async fn create(
    state: &AppState,
    context: RequestContext<'_>,
    body: &mut Incoming,
) -> Result<Response<Body>, ApiError> {
    let body = context.read_body(state, body).await?;
    let models = context.models(state);
    let (turn, mut reply, echo) = completions::parse(&body, &models, context.profile(state))?;
    // The turn owns what it needs; a body may be 16 MiB and the turn may wait in the queue.
    drop(body);
    check_prompt(state, reply.prompt_chars, "prompt")?;
    reply.cut.tools = state.config.tool_tail;
    let turn = start_completion(state, context, turn, &reply).await?;
    let mut response = match reply.delivery {
        Delivery::Stream { .. } => {
            let chunks = completions::ChunkWriter::new(&reply, echo);
            event_stream_response(event_stream(turn, chunks, context.keepalive(state)))
        }
        Delivery::Buffered | Delivery::Background => json(
            StatusCode::OK,
            completions::collect(&reply, echo, turn).await?,
        ),
    };
    response
        .headers_mut()
        .extend(ignored_header(&reply.ignored));
    Ok(response)
}
