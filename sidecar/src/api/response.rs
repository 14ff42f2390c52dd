//! Responses: JSON documents, event streams, errors, and the headers that all of them carry.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use tracing::Span;

use super::request::X_REQUEST_ID;
use super::route::Dialect;
use crate::codex::RateLimits;
use crate::openai::{ApiError, IgnoredFields, Retry};
use crate::turn::TurnOrigin;

/// The body of a response: one document, or a stream of frames.
pub type BoxedBody = UnsyncBoxBody<Bytes, Infallible>;

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream; charset=utf-8");
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
const X_SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
/// Used share of the Codex plan's rate limits.
const EDGE_PLAN: HeaderName = HeaderName::from_static("x-codex-edge-plan");
/// The origin of the Codex thread that a turn is on: `new`, `warm` or `resumed`.
const EDGE_THREAD: HeaderName = HeaderName::from_static("x-codex-edge-thread");
/// The limit because of which a turn got no permit: `slots`, `client-share` or `queue`.
const EDGE_LIMIT: HeaderName = HeaderName::from_static("x-codex-edge-limit");
/// Request fields that were read and not honoured.
const EDGE_IGNORED: HeaderName = HeaderName::from_static("x-codex-edge-ignored");

fn full(bytes: impl Into<Bytes>) -> BoxedBody {
    Full::new(bytes.into()).boxed_unsync()
}

/// Returns a JSON document.
pub(super) fn json(status: StatusCode, body: impl Into<Bytes>) -> Response<BoxedBody> {
    let mut response = Response::new(full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// Returns a stream of server-sent events.
pub(super) fn event_stream_response(
    events: impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static,
) -> Response<BoxedBody> {
    let frames = events.map(|bytes| bytes.map(Frame::data));
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, EVENT_STREAM);
    // `no-transform`: a proxy that compresses the stream would buffer it.
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-transform"),
    );
    // nginx buffers responses of an upstream by default.
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

/// Returns the response to a plain OPTIONS request. The filter answers CORS preflights; they do not get here.
pub(super) fn options() -> Response<BoxedBody> {
    let mut response = Response::new(full(Vec::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    let allow = HeaderValue::from_static("GET, POST, DELETE, HEAD, OPTIONS");
    response.headers_mut().insert(ALLOW, allow);
    response
}

/// Returns an error response, and records its code in the request's span. Envoy retries a request only when the
/// response has `x-should-retry: true`.
pub fn error_response(error: &ApiError) -> Response<BoxedBody> {
    with_error_headers(json(error.status, error.body()), error)
}

/// As [`error_response`], in the shape that the request expects.
pub(super) fn request_error_response(head: &Parts, error: &ApiError) -> Response<BoxedBody> {
    let dialect = Dialect::of(head);
    let body = dialect.error_body(error, head);
    with_error_headers(json(dialect.status(error), body), error)
}

fn with_error_headers(mut response: Response<BoxedBody>, error: &ApiError) -> Response<BoxedBody> {
    Span::current().record("code", error.code());
    let headers = response.headers_mut();
    if let Some(allow) = error.allow {
        headers.insert(ALLOW, HeaderValue::from_static(allow));
    }
    if let Some(reason) = error.not_admitted {
        headers.insert(EDGE_LIMIT, HeaderValue::from_static(reason.limit()));
    }
    if let Some(wait) = error.retry_after {
        // Rounded up, so that a client does not retry too early. OpenAI's clients read the milliseconds first.
        let whole_seconds = wait.as_millis().div_ceil(1000).max(1);
        headers.insert(RETRY_AFTER, number(whole_seconds));
        headers.insert(RETRY_AFTER_MS, number(wait.as_millis()));
    }
    match error.retry {
        Retry::Unspecified => {}
        Retry::Never => {
            headers.insert(X_SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        Retry::Safe => {
            headers.insert(X_SHOULD_RETRY, HeaderValue::from_static("true"));
        }
    }
    response
}

fn number(number: u128) -> HeaderValue {
    HeaderValue::from_str(&number.to_string()).expect("digits are a header value")
}

/// Returns `x-codex-edge-ignored`; `None` when every field of the request was honoured.
pub(super) fn ignored_header(ignored: &IgnoredFields) -> Option<(HeaderName, HeaderValue)> {
    let names = HeaderValue::from_str(&ignored.list()?).ok()?;
    Some((EDGE_IGNORED, names))
}

/// Returns `x-codex-edge-thread`; `None` until a child has the turn, and for a Codex without threads.
pub(super) fn thread_header(origin: &TurnOrigin) -> Option<(HeaderName, HeaderValue)> {
    let value = HeaderValue::from_static(origin.get()?.as_str());
    Some((EDGE_THREAD, value))
}

/// Returns `x-codex-edge-plan`; `None` until Codex has reported rate limits.
pub(super) fn rate_limit_header(plan: &RateLimits) -> Option<(HeaderName, HeaderValue)> {
    let value = HeaderValue::from_str(&plan.to_header_value()?).ok()?;
    Some((EDGE_PLAN, value))
}

/// Returns `x-request-id` as Envoy sent it; `None` for a request that did not come through Envoy.
pub(super) fn request_id_header(head: &Parts) -> Option<(HeaderName, HeaderValue)> {
    let id = head.headers.get(X_REQUEST_ID)?;
    Some((X_REQUEST_ID, id.clone()))
}
