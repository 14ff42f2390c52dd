//! The run of the self-test against a child of its own, which is stopped afterwards.

use std::time::Duration;

use tokio::time::timeout;

use super::script::{SelfTestError, SelfTestScript, Step};
use crate::process::{ChildProcess, Pipes, Program};

/// Time that Codex has for each call; a cold `initialize` took 0.3 s.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Starts `program`, makes each call of the self-test, and stops the program.
///
/// # Errors
/// The program cannot be started, or a call failed.
pub(in crate::codex) async fn run(program: &Program) -> Result<(), SelfTestError> {
    let (child, mut pipes) = ChildProcess::spawn(program).map_err(SelfTestError::Start)?;
    let result = play(&mut pipes).await;
    // Before the child is waited for: it exits at the end of its stdin.
    drop(pipes);
    if let Err(error) = child.stop().await {
        tracing::warn!(%error, "codex child wait failed");
    }
    result
}

async fn play(pipes: &mut Pipes) -> Result<(), SelfTestError> {
    let (mut script, first) = SelfTestScript::start();
    let mut step = Step::Send(first);
    loop {
        if let Step::Send(lines) = step {
            pipes.stdin.push(lines);
        }
        let line = timeout(CALL_TIMEOUT, next_line(pipes)).await;
        let call = script.call();
        let line = line.map_err(|_elapsed| SelfTestError::Timeout(call))?;
        step = script.read_line(&line.ok_or(SelfTestError::Closed(call))?)?;
        if step == Step::Passed {
            return Ok(());
        }
    }
}

/// Returns the next line of the child, and writes to it meanwhile; `None` when the child has ended.
async fn next_line(pipes: &mut Pipes) -> Option<String> {
    loop {
        // Every branch is cancel safe.
        tokio::select! {
            written = pipes.stdin.write() => written.ok()?,
            line = pipes.stdout.next() => return line?.ok(),
            () = pipes.stderr.log() => {}
        }
    }
}
