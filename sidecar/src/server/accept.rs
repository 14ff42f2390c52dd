//! Accepts connections and shuts down without losing requests.
//!
//! Shutdown has three phases:
//! 1. Unlink the socket, so that a successor can bind it. Clients that resolved the path earlier may still connect for
//!    `UNLINK_GRACE`; their requests get a 503 with `x-should-retry: true`, and Envoy retries on the successor.
//! 2. Drain: running responses finish within `drain`. Envoy closes an idle connection after 1 s (`envoy.yaml`). The
//!    sidecar closes one only after a response with `connection: close` or after `IDLE_BEFORE_CLOSE`, because Envoy
//!    cannot tell whether the sidecar has processed a request that races with the close.
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

/// Time for the last frame of an interrupted turn to reach Envoy. Must exceed `INTERRUPT_GRACE` in
/// `codex/connection.rs`, after which a worker fails the turns that its child has not ended.
const ABORT_GRACE: Duration = Duration::from_secs(5);

/// Time that the sidecar accepts connections after the unlink, for a connect(2) that resolved the path before it. Lookup
/// and connect are one system call, so the time is ample.
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
    // Phase 1: a successor can bind the path from here on.
    listener.unlink();
    let unlinked = sleep(UNLINK_GRACE);
    accept_until(unlinked, &listener, &mut connections, &state, shutdown).await;
    // Connects fail from here on, so that Envoy tries the successor.
    drop(listener);

    // Phase 2.
    tokio::select! {
        () = wait_idle(&mut connections, shutdown) => {}
        // A second signal.
        () = shutdown.abort.cancelled() => {}
        () = sleep(drain) => warn!(connections = connections.len(), "drain deadline reached, aborting turns"),
    }
    // Phase 3, also after an idle drain: workers end when `abort` is cancelled.
    shutdown.abort.cancel();
    let idle = wait_idle(&mut connections, shutdown);
    if timeout(ABORT_GRACE, idle).await.is_err() {
        warn!(
            connections = connections.len(),
            "abort deadline reached, closing connections"
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
    // `wait` returns only for a closed tracker.
    shutdown.background.close();
    shutdown.background.wait().await;
}
