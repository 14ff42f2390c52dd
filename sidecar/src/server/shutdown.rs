//! The state of a shutdown, shared by all tasks that must react to it.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Tokens of a shutdown. The first SIGTERM or SIGINT starts the drain, the second one the abort.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Cancelled when the drain starts: new requests are rejected, running ones continue.
    pub drain: CancellationToken,
    /// Cancelled when the drain is over: remaining turns are interrupted.
    pub abort: CancellationToken,
    /// Turns that continue without a client; the drain waits for them.
    pub background: TaskTracker,
}
