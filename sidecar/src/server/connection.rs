//! Serves one connection from Envoy, and closes it during a drain once Envoy no longer uses it.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::CONNECTION;
use http::{HeaderValue, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::sleep;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::debug;

use super::listener::Connection;
use super::shutdown::Shutdown;
use crate::api::{self, AppState, InstrumentedBody, error_response};
use crate::openai::ApiError;

/// Time for the head of a request, idle time before it included: hyper starts the timer when it waits for a head. Longer
/// than the cluster's `idle_timeout` in `envoy.yaml`, so that Envoy closes an idle connection first.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Idle time after which Envoy no longer sends a request on a connection: twice the `idle_timeout` of the cluster in
/// `envoy.yaml`, at which Envoy closes it.
const IDLE_BEFORE_CLOSE: Duration = Duration::from_secs(2);

/// Serves a connection until Envoy closes it, or until it is drained.
pub(super) async fn serve(stream: Connection, state: Arc<AppState>, shutdown: Shutdown) {
    let requests = TaskTracker::new();
    let service = service_fn(|request| {
        let (state, in_flight) = (Arc::clone(&state), requests.token());
        // Per request, because a kept-alive connection may be older than the drain.
        let draining = shutdown.drain.is_cancelled();
        async move {
            let response = if draining {
                reject_draining(request, in_flight).await
            } else {
                api::respond(state, request, in_flight).await
            };
            Ok::<_, Infallible>(response)
        }
    });
    let serving = http1::Builder::new()
        // hyper panics if a timeout is configured without a timer.
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = pin!(serving);
    let served = tokio::select! {
        served = serving.as_mut() => served,
        // Finishes a request that is being read or answered, then closes.
        () = drained(&requests, &shutdown) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        debug!(%error, "connection ended early");
    }
}

/// Waits until the drain has started, the connection's requests have ended, and `IDLE_BEFORE_CLOSE` has passed; after
/// the start of the drain, at most until the abort.
async fn drained(requests: &TaskTracker, shutdown: &Shutdown) {
    shutdown.drain.cancelled().await;
    // `wait` returns only for a closed tracker; a closed one still counts new requests.
    requests.close();
    let idle = async {
        requests.wait().await;
        sleep(IDLE_BEFORE_CLOSE).await;
    };
    tokio::select! {
        () = idle => {}
        () = shutdown.abort.cancelled() => {}
    }
}

/// Rejects a request during the drain with a 503 that Envoy retries on the successor. Reads the body first: closing
/// the connection with unread bytes may discard the response.
async fn reject_draining(
    mut request: Request<Incoming>,
    in_flight: TaskTrackerToken,
) -> Response<InstrumentedBody> {
    // Bounded by Envoy's limits on a request (16 MiB, 120 s), and by the abort.
    while let Some(Ok(_)) = request.body_mut().frame().await {}
    debug!(path = request.uri().path(), "request rejected during drain");
    let mut response = error_response(&ApiError::draining())
        .map(|body| InstrumentedBody::unlogged(body, in_flight));
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
    response
}
