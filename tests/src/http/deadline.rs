//! The deadline of every wait for a server.

use std::time::Duration;

use tokio::time::timeout;

/// Longest wait for a connection, a response head or the next chunk of a body.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Awaits `wait` and panics after the deadline.
pub(super) async fn deadline<T>(wait: impl Future<Output = T>) -> T {
    timeout(DEADLINE, wait)
        .await
        .expect("the server acts within the deadline")
}
