//! `/v1/responses`: create, retrieve, list the input of, cancel and delete a response.
//! OpenAI API reference, "Responses".

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{Stream, unfold};
use http::{Response, StatusCode};
use hyper::body::Incoming;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::check_images::check_images;
use super::parse_body::parse_body;
use super::sync_references::sync_references;
use crate::api::body::{self, RequestBody};
use crate::api::request::RequestContext;
use crate::api::response::{BoxedBody, event_stream_response, ignored_header, json, thread_header};
use crate::api::start_turn::{check_prompt, hold_head, start, turn_info};
use crate::api::state::AppState;
use crate::openai::responses::{self, ClientResponses, Page, ResponseSpec, ResponseWriter};
use crate::openai::{ApiError, Delivery, event_stream};
use crate::turn::TurnRequest;

/// Time that a cancelled response has to end. A response with a client that does not read its stream may take longer.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(2);

pub(in crate::api) async fn create(
    state: &Arc<AppState>,
    context: RequestContext<'_>,
    body: &mut Incoming,
) -> Result<Response<BoxedBody>, ApiError> {
    let body = body::read(state, context, body).await?;
    sync_references(state, context, &body).await?;
    let (mut turn, spec) = parse_body(state, context, body, parse).await?;
    let options = &spec.options;
    check_prompt(state, options.prompt_chars, "input")?;
    check_images(state, &mut turn).await?;
    let (delivery, mut ignored) = (options.delivery, options.ignored.clone());
    let info =
        turn_info(context, &turn, &options.model_id, options.prompt_chars)?.with_delivery(delivery);
    let rules = &options.truncation;
    let mut turn = start(state, context, turn, delivery, rules, info, Vec::new()).await?;
    let writer = ResponseWriter::new(spec, &state.responses, context.client());
    if let Some(cancelled) = writer.cancelled() {
        turn = turn.until(cancelled);
    }
    let origin = turn.origin();
    let mut response = match hold_head(state, delivery, &mut turn).await {
        Delivery::Stream { .. } => {
            event_stream_response(event_stream(turn, writer, context.keepalive(state)))
        }
        Delivery::BackgroundStream => {
            let events = event_stream(turn, writer, context.keepalive(state));
            event_stream_response(in_background(state, events))
        }
        Delivery::Buffered => json(StatusCode::OK, responses::collect(writer, turn).await?),
        Delivery::Background => {
            let begun = writer.in_progress();
            state.background.spawn(responses::collect(writer, turn));
            json(StatusCode::OK, begun)
        }
    };
    let headers = response.headers_mut();
    ignored.on_thread(&origin);
    headers.extend(ignored_header(&ignored));
    headers.extend(thread_header(&origin));
    Ok(response)
}

fn parse(
    state: &AppState,
    context: RequestContext<'_>,
    body: RequestBody,
) -> Result<(TurnRequest, ResponseSpec), ApiError> {
    let stored = stored_by(state, context);
    let models = context.models(state);
    let (turn, mut spec) =
        responses::parse(body.bytes(), &models, context.profile(state), &stored)?;
    let turn = turn.with_hint(context.session_name());
    // The turn owns what it needs; a body may be 16 MiB and the turn may wait in the queue.
    let (turn, input) = body.into_turn_and_input(turn)?;
    spec.memory = input;
    Ok((turn, spec))
}

/// Chunks of a stream in the background that its client has not read. The next chunk waits, as the turn does.
const UNREAD_CHUNKS: usize = 16;

/// Reads `events` to their end, also after the client has disconnected, and returns them as long as the client reads.
fn in_background(
    state: &AppState,
    events: impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static,
) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static {
    let (sender, receiver) = mpsc::channel(UNREAD_CHUNKS);
    state.background.spawn(async move {
        let mut events = pin!(events);
        while let Some(chunk) = events.next().await {
            let _ = sender.send(chunk).await; // Fails once the client has disconnected.
        }
    });
    unfold(receiver, async |mut receiver| {
        let chunk = receiver.recv().await?;
        Some((chunk, receiver))
    })
}

/// Returns the stored responses that the caller may refer to.
fn stored_by<'a>(state: &'a AppState, context: RequestContext<'a>) -> ClientResponses<'a> {
    ClientResponses {
        store: &state.responses,
        client: context.client(),
    }
}

pub(in crate::api) async fn delete(
    state: &AppState,
    context: RequestContext<'_>,
    id: &str,
) -> Result<Response<BoxedBody>, ApiError> {
    let ClientResponses { store, client } = stored_by(state, context);
    if store.delete(client, id).await? {
        Ok(json(StatusCode::OK, responses::deleted(id)))
    } else if store.is_running(client, id) {
        let text = "The response is still in progress; cancel it first.";
        Err(ApiError::invalid(text))
    } else {
        Err(ApiError::response_not_found(id))
    }
}

pub(in crate::api) async fn retrieve(
    state: &AppState,
    context: RequestContext<'_>,
    id: &str,
) -> Result<Response<BoxedBody>, ApiError> {
    let ClientResponses { store, client } = stored_by(state, context);
    if context
        .query()
        .any(|(name, value)| name == "stream" && value == "true")
    {
        let text = "`stream` is not supported for a stored response; leave it out.";
        return Err(ApiError::unsupported("stream", text));
    }
    let running_elsewhere = store.sync(client, id).await?;
    let document = running_elsewhere
        .or_else(|| store.document(client, id))
        .ok_or_else(|| ApiError::response_not_found(id))?;
    Ok(json(StatusCode::OK, document))
}

pub(in crate::api) async fn input_items(
    state: &AppState,
    context: RequestContext<'_>,
    id: &str,
) -> Result<Response<BoxedBody>, ApiError> {
    let ClientResponses { store, client } = stored_by(state, context);
    let page = Page::parse(context.query())?;
    let running_elsewhere = store.sync(client, id).await?;
    if store.is_running(client, id) || running_elsewhere.is_some() {
        let text = "The response is still in progress; try again when it has ended.";
        return Err(ApiError::invalid(text));
    }
    let stored = store
        .stored(client, id)
        .ok_or_else(|| ApiError::response_not_found(id))?;
    let items = responses::input_items(id, &stored, &page)?;
    Ok(json(StatusCode::OK, items))
}

/// Cancels a response in progress. A response that has ended is returned unchanged, as OpenAI does.
pub(in crate::api) async fn cancel(
    state: &AppState,
    context: RequestContext<'_>,
    id: &str,
) -> Result<Response<BoxedBody>, ApiError> {
    let ClientResponses { store, client } = stored_by(state, context);
    // After the timeout the document still says `in_progress`, which is true.
    if let Ok(cancelled) = timeout(CANCEL_TIMEOUT, store.cancel(client, id)).await {
        cancelled?;
    }
    let running_elsewhere = store.sync(client, id).await?;
    let document = running_elsewhere
        .or_else(|| store.document(client, id))
        .ok_or_else(|| ApiError::response_not_found(id))?;
    Ok(json(StatusCode::OK, document))
}
