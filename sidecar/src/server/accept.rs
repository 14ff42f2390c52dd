//! Accepts connections, serves them, and drains: the sidecar's own shutdown.
//! A connection belongs to the set in here; whoever is still in it when the drain is over is cut.
//!
//! The end loses no request that another sidecar could serve: the socket's name is free at once, so that a successor
//! can take it; who is on the way to us by then is told that nothing was done for it, and Envoy asks again; and it is
//! Envoy that closes a connection, since a request that meets our close may have been read or not.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::CONNECTION;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Either as EitherBody};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::{Body, Routes, error_response};
use crate::openai::ApiError;
use crate::server::listener::{Connection, Listener};
use crate::server::tied::Tied;

/// Time that a peer has to send a request's head. The peer is Envoy, which sends it at once.
const HEAD_DEADLINE: Duration = Duration::from_secs(30);

/// Time for the last frame of an interrupted turn to reach Envoy; a child answers an interrupt within milliseconds.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Time for who looked up the socket's name before it went to connect; that is one system call of Envoy's.
const LATE: Duration = Duration::from_millis(100);

/// Silence on a connection after which Envoy sends nothing on it any more: twice the `idle_timeout` of the cluster in
/// `envoy.yaml`, at which Envoy closes it.
const QUIET: Duration = Duration::from_secs(2);

/// The two steps of the process's end.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// No new requests.
    pub drain: CancellationToken,
    /// No time for those that run: their turns are interrupted.
    pub abort: CancellationToken,
    /// Turns that go on without a client.
    pub background: TaskTracker,
}

/// Serves until `shutdown.drain` fires, then drains: answers have `drain` to come to their end, or until `shutdown.abort`
/// fires, which it does when `drain` is over; then they are told the truth, and what is still open is cut.
pub async fn serve(
    mut listener: Listener,
    routes: Arc<Routes>,
    shutdown: &Shutdown,
    drain: Duration,
) {
    let mut connections = JoinSet::new();
    let stopped = shutdown.drain.cancelled();
    welcome(&listener, &mut connections, &routes, shutdown, stopped).await;
    listener.unlink();
    welcome(&listener, &mut connections, &routes, shutdown, sleep(LATE)).await;
    drop(listener); // Nobody new.
    tokio::select! {
        () = all_over(&mut connections, shutdown) => {}
        () = sleep(drain) => tracing::warn!(connections = connections.len(), "drain is over, what still runs is interrupted"),
        () = shutdown.abort.cancelled() => {}
    }
    shutdown.abort.cancel();
    if timeout(LAST_WORDS, all_over(&mut connections, shutdown))
        .await
        .is_err()
    {
        tracing::warn!(connections = connections.len(), "answers are cut");
    }
    connections.shutdown().await;
}

/// Accepts connections until `end`.
async fn welcome(
    listener: &Listener,
    connections: &mut JoinSet<()>,
    routes: &Arc<Routes>,
    shutdown: &Shutdown,
    end: impl Future<Output = ()>,
) {
    let mut end = pin!(end);
    loop {
        tokio::select! {
            () = end.as_mut() => return,
            Some(_ended) = connections.join_next() => {}
            stream = listener.accept() => {
                connections.spawn(connection(stream, Arc::clone(routes), shutdown.clone()));
            }
        }
    }
}

async fn all_over(connections: &mut JoinSet<()>, shutdown: &Shutdown) {
    while connections.join_next().await.is_some() {}
    shutdown.background.close();
    shutdown.background.wait().await;
}

/// Serves one connection, which Envoy closes; we do so once we are told to stop and Envoy has had the time.
async fn connection(stream: Connection, routes: Arc<Routes>, shutdown: Shutdown) {
    let requests = TaskTracker::new();
    let service = service_fn(|request| {
        let (routes, stopping) = (Arc::clone(&routes), shutdown.drain.is_cancelled());
        let running = requests.token();
        async move {
            let response = if stopping {
                turn_away(request).await.map(EitherBody::Left)
            } else {
                routes.answer(request).await.map(EitherBody::Right)
            };
            Ok::<_, Infallible>(response.map(|body| Tied::new(body, running)))
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = pin!(serving);
    let served = tokio::select! {
        served = serving.as_mut() => served,
        () = out_of_use(&requests, &shutdown) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "connection ended early");
    }
}

/// Waits until a connection is not needed any more: we were told to stop, its requests are over, and no more can come.
async fn out_of_use(requests: &TaskTracker, shutdown: &Shutdown) {
    shutdown.drain.cancelled().await;
    requests.close();
    let quiet = async {
        requests.wait().await;
        sleep(QUIET).await;
    };
    tokio::select! {
        () = quiet => {}
        () = shutdown.abort.cancelled() => {}
    }
}

/// Leaves a request to the successor. Its body is read, since closing on it could take the answer along.
async fn turn_away(mut request: Request<Incoming>) -> Response<Body> {
    while let Some(Ok(_unread)) = request.body_mut().frame().await {}
    tracing::debug!(path = request.uri().path(), "request is turned away");
    let mut response = error_response(&ApiError::turned_away());
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
    response
}
