//! The response to a chat, a completion or a message: an event stream, or a document once the turn has ended.

use std::future::Future;
use std::sync::Arc;

use http::{Response, StatusCode};

use crate::api::request::RequestContext;
use crate::api::response::{BoxedBody, event_stream_response, ignored_header, json, thread_header};
use crate::api::start_turn::{hold_head, start_completion};
use crate::api::state::AppState;
use crate::openai::{ApiError, Delivery, EventFrames, ResponseOptions, event_stream};
use crate::turn::{ClientTurn, TurnRequest};

/// The response format of a route, with the options of one request.
pub(super) trait ReplyFormat {
    /// The writer of the event stream.
    type Frames: EventFrames + Send + 'static;

    /// The options that all formats share.
    fn options(&self) -> &ResponseOptions;

    /// Returns the writer of the event stream.
    fn into_frames(self) -> Self::Frames;

    /// Returns the document of the whole turn.
    ///
    /// # Errors
    /// The turn failed or was interrupted.
    fn collect(self, turn: ClientTurn) -> impl Future<Output = Result<Vec<u8>, ApiError>> + Send;
}

/// Starts the turn and returns its response in the client's delivery.
///
/// # Errors
/// As for [`start_completion`]; and the turn failed before its status was sent.
pub(super) async fn reply(
    state: &Arc<AppState>,
    context: RequestContext<'_>,
    turn: TurnRequest,
    format: impl ReplyFormat,
) -> Result<Response<BoxedBody>, ApiError> {
    let options = format.options();
    let (delivery, mut ignored) = (options.delivery, options.ignored.clone());
    let mut turn = start_completion(state, context, turn, options).await?;
    let origin = turn.origin();
    let mut response = match hold_head(state, delivery, &mut turn).await {
        Delivery::Stream { .. } => {
            let frames = format.into_frames();
            event_stream_response(event_stream(turn, frames, context.keepalive(state)))
        }
        Delivery::Buffered | Delivery::Background | Delivery::BackgroundStream => {
            json(StatusCode::OK, format.collect(turn).await?)
        }
    };
    let headers = response.headers_mut();
    ignored.on_thread(&origin);
    headers.extend(ignored_header(&ignored));
    headers.extend(thread_header(&origin));
    Ok(response)
}
