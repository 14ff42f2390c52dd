//! Routes a request to its handler, within the request's span and with its access log line.
//! `docs/openapi.json` describes the routes.

use std::sync::{Arc, OnceLock};

use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::{Instrument, info_span};

use super::access_log::{AccessLog, InstrumentedBody, LogClass};
use super::budget::with_budget;
use super::handlers::{chat, completions, health, messages, models, responses, usage};
use super::request::{EDGE_CLIENT, RequestContext, X_REQUEST_ID, discard, header};
use super::response::{
    BoxedBody, json, options, rate_limit_header, request_error_response, request_id_header,
};
use super::route::{Dialect, REQUEST_ID, Route};
use super::state::AppState;
use crate::openai::ApiError;
use crate::telemetry::otel::RequestSpan;
use crate::telemetry::trace_context::caller_trace_id;

/// Responds to one request. When the client disconnects, hyper drops the future, or the body of the response. Either
/// drop interrupts the turn if `kill_on_disconnect` is set. `in_flight` is held until the body is dropped.
pub async fn respond(
    state: Arc<AppState>,
    request: Request<Incoming>,
    in_flight: TaskTrackerToken,
) -> Response<InstrumentedBody> {
    let (head, mut body) = request.into_parts();
    let route = Route::of(&head.method, head.uri.path());
    let exported = start_span(&state, &head, route);
    let trace = exported.as_ref().map(RequestSpan::trace_id);
    let parent = exported.as_ref().map(RequestSpan::parent);
    let span = info_span!(
        "request",
        id = header(&head.headers, &X_REQUEST_ID).unwrap_or("-"),
        client = header(&head.headers, &EDGE_CLIENT).unwrap_or("-"),
        method = %head.method,
        path = head.uri.path(),
        trace_id = trace.as_deref().or_else(|| caller_trace_id(&head.headers)),
        code = tracing::field::Empty,
    );
    let limits = OnceLock::new();
    let context = RequestContext {
        head: &head,
        route,
        span: parent.as_ref(),
        limits: &limits,
    };
    let log = AccessLog::new(
        span.clone(),
        log_class(route),
        Arc::clone(&state.sinks.metrics),
        route.pattern(),
        exported,
    );
    async {
        let handled = dispatch(&state, context, &mut body).await;
        // A connection that closes with unread bytes may lose the response, so read the rest first.
        discard(&state, &mut body).await;
        let response = handled.unwrap_or_else(|error| request_error_response(&head, &error));
        log.instrument(finish_headers(&state, context, response).await, in_flight)
    }
    .instrument(span)
    .await
}

/// Starts the exported span of a request. Probes get none, for they arrive every few seconds.
fn start_span(state: &AppState, head: &Parts, route: Route<'_>) -> Option<RequestSpan> {
    match log_class(route) {
        LogClass::Probe => None,
        LogClass::Request => {
            let otel = &state.sinks.otel;
            otel.start_request(&head.method, route.pattern(), &head.headers)
        }
    }
}

/// Returns the level of the log line. Probes arrive every few seconds, so theirs is debug.
fn log_class(route: Route<'_>) -> LogClass {
    match route {
        Route::Health | Route::Live | Route::Ready => LogClass::Probe,
        _ => LogClass::Request,
    }
}

/// Adds the headers that do not depend on the handler.
async fn finish_headers(
    state: &AppState,
    context: RequestContext<'_>,
    mut response: Response<BoxedBody>,
) -> Response<BoxedBody> {
    let request_id = request_id_header(context.head);
    if Dialect::of(context.head) == Dialect::Anthropic {
        let named = request_id.clone().map(|(_, id)| (REQUEST_ID, id));
        response.headers_mut().extend(named);
    }
    response.headers_mut().extend(request_id);
    if context.head.method == Method::POST {
        let header = rate_limit_header(&state.backend.rate_limits());
        response.headers_mut().extend(header);
        response = with_budget(state, context, response).await;
    }
    response
}

async fn dispatch(
    state: &Arc<AppState>,
    context: RequestContext<'_>,
    body: &mut Incoming,
) -> Result<Response<BoxedBody>, ApiError> {
    let (method, path) = (&context.head.method, context.head.uri.path());
    match context.route {
        Route::Health | Route::Live => Ok(health::health(state)),
        Route::Ready => health::ready(state),
        Route::Models => models::list(state, context),
        Route::Model(id) => models::retrieve(state, context, id),
        // HEAD only shows that the route exists; it starts no turn.
        Route::Chat
        | Route::Completions
        | Route::Responses
        | Route::Messages
        | Route::CountTokens
            if method == Method::HEAD =>
        {
            Ok(json(StatusCode::OK, Vec::new()))
        }
        Route::Chat => chat::create(state, context, body).await,
        Route::Completions => completions::create(state, context, body).await,
        Route::Responses => responses::create(state, context, body).await,
        Route::Messages => messages::create(state, context, body).await,
        Route::CountTokens => messages::count_tokens(state, context, body).await,
        Route::Response(id) if method == Method::DELETE => {
            responses::delete(state, context, id).await
        }
        Route::Response(id) => responses::retrieve(state, context, id).await,
        Route::InputItems(id) => responses::input_items(state, context, id).await,
        Route::Cancel(id) => responses::cancel(state, context, id).await,
        Route::Usage => usage::totals(state, context).await,
        Route::UsageRecords => usage::records(state, context).await,
        Route::Concurrency if state.config.test_endpoints => Ok(health::concurrency(state)),
        Route::MethodNotAllowed(allow) => Err(ApiError::method_not_allowed(method.as_str(), allow)),
        Route::Options => Ok(options()),
        // A disabled route is indistinguishable from an unknown one.
        Route::Concurrency | Route::Unknown => Err(ApiError::unknown_url(method.as_str(), path)),
    }
}
