//! Programs that are clients of the chain, and their output.

use std::process::{Output, Stdio};

use tests::http::DEADLINE;
use tokio::process::Command;

/// Runs a client to its end.
pub(super) async fn finish(mut client: Command) -> Output {
    client.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(DEADLINE * 3, client.output()).await;
    output
        .expect("the client exits in time")
        .expect("the client is executable")
}

/// The exit status and the output of a client.
pub(super) fn text(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
