//! The phases of the sidecar's end, shared by everything that has to react to them.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Signals of a shutdown. SIGTERM starts the drain, a second one the abort.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Cancelled when the drain starts: new requests are rejected, running ones continue.
    pub drain: CancellationToken,
    /// Cancelled when the drain is over: remaining turns are interrupted.
    pub abort: CancellationToken,
    /// Turns that continue without a client; the drain waits for them.
    pub background: TaskTracker,
}
