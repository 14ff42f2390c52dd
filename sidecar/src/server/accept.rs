//! Accepts connections and shuts down without losing requests.
//!
//! Shutdown has three phases:
//! 1. Unlink the socket, so that a successor can bind it. Clients that resolved the path earlier may still connect for
//!    `UNLINK_GRACE`; their requests get a 503 with `x-should-retry: true`, and Envoy retries on the successor.
//! 2. Drain: running responses finish within `drain`. Envoy closes idle connections; the sidecar never closes first,
//!    because a request that races with the close might or might not have been processed.
//! 3. Abort: remaining turns are interrupted, their responses get an error frame, and connections are closed after
//!    `ABORT_GRACE`.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::connection;
use super::listener::Listener;
use super::shutdown::Shutdown;
use crate::api::AppState;

/// Time for the last frame of an interrupted turn to reach Envoy; a child confirms an interrupt within milliseconds.
const ABORT_GRACE: Duration = Duration::from_secs(5);

/// Time between Envoy's lookup of the socket's path and its connect, which is one system call.
const UNLINK_GRACE: Duration = Duration::from_millis(100);

/// Serves until `shutdown.drain` is cancelled, then drains for at most `drain`, or until `shutdown.abort` is cancelled.
/// Cancels `shutdown.abort` itself when the drain is over.
pub async fn serve(
    mut listener: Listener,
    state: Arc<AppState>,
    shutdown: &Shutdown,
    drain: Duration,
) {
    let mut connections = JoinSet::new();
    let draining = shutdown.drain.cancelled();
    accept_until(draining, &listener, &mut connections, &state, shutdown).await;
    listener.unlink();
    let unlinked = sleep(UNLINK_GRACE);
    accept_until(unlinked, &listener, &mut connections, &state, shutdown).await;
    // Connects fail from here on, so that Envoy tries the successor.
    drop(listener);

    tokio::select! {
        () = wait_idle(&mut connections, shutdown) => {}
        () = shutdown.abort.cancelled() => {}
        () = sleep(drain) => warn!(connections = connections.len(), "drain deadline reached, aborting turns"),
    }
    shutdown.abort.cancel();
    let idle = wait_idle(&mut connections, shutdown);
    if timeout(ABORT_GRACE, idle).await.is_err() {
        warn!(
            connections = connections.len(),
            "closing connections with unfinished responses"
        );
    }
    connections.shutdown().await;
}

/// Accepts connections until `end` completes.
async fn accept_until(
    end: impl Future<Output = ()>,
    listener: &Listener,
    connections: &mut JoinSet<()>,
    state: &Arc<AppState>,
    shutdown: &Shutdown,
) {
    let mut end = pin!(end);
    loop {
        tokio::select! {
            () = end.as_mut() => return,
            // Reaps finished connections; without this arm the set would grow until the drain.
            Some(_) = connections.join_next() => {}
            stream = listener.accept() => {
                connections.spawn(connection::serve(stream, Arc::clone(state), shutdown.clone()));
            }
        }
    }
}

/// Waits until every connection is closed and every background turn has ended.
async fn wait_idle(connections: &mut JoinSet<()>, shutdown: &Shutdown) {
    while connections.join_next().await.is_some() {}
    shutdown.background.close();
    shutdown.background.wait().await;
}
