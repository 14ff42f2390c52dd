//! A `codex app-server` child and a minimal loop over its pipes, the baseline for the cost of the sidecar.
//!
//! The loop makes the same calls as the sidecar, but checks, limits and stores only what the measurement needs.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tests::codex::models::default_model;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{Instant, sleep_until};
use xtask::command::bound_to_parent;

use crate::client::RequestSample;
use crate::timestamp::{self, Timestamp};

/// Number of call ids per turn. The id of a call is the number of its turn times this constant, plus its own number.
const CALLS: usize = 4;

const THREAD_START: usize = 1;
const INJECT_ITEMS: usize = 2;
const TURN_START: usize = 3;
/// The same id as a call 0 of the next turn, which does not exist. The loop ignores the response.
const UNSUBSCRIBE: usize = 4;

/// Condition for the start of the next turn.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pacing {
    /// A closed loop: fewer turns are running than this number.
    Concurrent(usize),
    /// An open loop: this time has passed since the start of the previous turn.
    Interval(Duration),
}

/// A child with a completed handshake. The child is killed when the loop is dropped.
#[derive(Debug)]
pub(crate) struct BareLoop {
    _child: Child,
    /// Stored, because tokio forgets the id of a child that has exited.
    pid: i32,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

/// A response or a notification from the child.
#[derive(Deserialize)]
struct Incoming<'a> {
    id: Option<usize>,
    method: Option<&'a str>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    result: Option<Value>,
}

/// The parameters that all notifications of a thread have in common.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ThreadParams<'a> {
    thread_id: &'a str,
}

struct ActiveTurn {
    number: usize,
    sample: RequestSample,
    started_at: Instant,
}

/// The turns of one run.
#[derive(Default)]
struct TurnTable {
    /// Turns before the response to `thread/start`, by number.
    starting: HashMap<usize, ActiveTurn>,
    /// Turns after the response to `thread/start`, by thread id.
    running: HashMap<String, ActiveTurn>,
    completed: Vec<RequestSample>,
}

impl BareLoop {
    /// Starts `program app-server` with `home` as its `CODEX_HOME` and completes the handshake.
    ///
    /// # Errors
    /// When the program cannot be started, or ends during the handshake.
    pub(crate) async fn start(
        program: &Path,
        arguments: &[&str],
        home: &Path,
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        command
            .arg("app-server")
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("CODEX_HOME", home)
            .current_dir(home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        bound_to_parent(command.as_std_mut(), Signal::SIGKILL);
        let mut child = command.spawn().context("cannot start Codex")?;
        let stdin = child.stdin.take().context("stdin is piped")?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let lines = BufReader::with_capacity(1 << 16, stdout).lines();
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        let mut bare_loop = Self {
            pid: pid.context("Codex has exited")?,
            _child: child,
            stdin,
            lines,
        };
        bare_loop.initialize().await?;
        Ok(bare_loop)
    }

    /// Returns the process id of the child.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    async fn initialize(&mut self) -> anyhow::Result<()> {
        let client = json!({"name": "bench", "title": "bench", "version": "0"});
        let unwanted = json!(["thread/status/changed"]);
        let capabilities = json!({"experimentalApi": true, "optOutNotificationMethods": unwanted});
        let params = json!({"clientInfo": client, "capabilities": capabilities});
        self.call(0, "initialize", &params).await?;
        self.lines
            .next_line()
            .await?
            .context("Codex ended during the handshake")?;
        self.stdin
            .write_all(b"{\"method\":\"initialized\"}\n")
            .await?;
        Ok(())
    }

    /// Runs `total` turns with `prompt` and returns their samples.
    ///
    /// # Errors
    /// When the child ends or a turn fails.
    pub(crate) async fn turns(
        &mut self,
        prompt: &str,
        total: usize,
        pacing: Pacing,
    ) -> anyhow::Result<Vec<RequestSample>> {
        let mut turns = TurnTable::default();
        let (mut started, mut next_start) = (0, Instant::now());
        while turns.completed.len() < total {
            let may_start = started < total
                && match pacing {
                    Pacing::Concurrent(limit) => started - turns.completed.len() < limit,
                    Pacing::Interval(_) => true,
                };
            tokio::select! {
                // In this order, lines that keep coming cannot delay the start of a turn.
                biased;
                () = sleep_until(next_start), if may_start => {
                    self.start_turn(started, &mut turns).await?;
                    started += 1;
                    if let Pacing::Interval(time) = pacing {
                        // From the due time rather than from now: delays must not lower the rate.
                        next_start += time;
                    }
                }
                line = self.lines.next_line() => {
                    let line = line?.context("Codex ended during a turn")?;
                    self.on_line(&line, prompt, &mut turns).await?;
                }
            }
        }
        Ok(turns.completed)
    }

    async fn start_turn(&mut self, number: usize, turns: &mut TurnTable) -> anyhow::Result<()> {
        turns.starting.insert(number, ActiveTurn::new(number));
        let params = json!({
            "ephemeral": true, "model": default_model(), "approvalPolicy": "never", "sandbox": "read-only",
            "baseInstructions": "", "environments": [],
        });
        self.call(number * CALLS + THREAD_START, "thread/start", &params)
            .await
    }

    async fn on_line(
        &mut self,
        line: &str,
        prompt: &str,
        turns: &mut TurnTable,
    ) -> anyhow::Result<()> {
        let incoming: Incoming<'_> = serde_json::from_str(line)?;
        if let (Some(id), Some(result)) = (incoming.id, incoming.result) {
            return self.on_response(id, &result, prompt, turns).await;
        }
        let params = incoming.params.map(RawValue::get).unwrap_or_default();
        let Ok(ThreadParams { thread_id }) = serde_json::from_str(params) else {
            return Ok(());
        };
        let Some(turn) = turns.running.get_mut(thread_id) else {
            return Ok(());
        };
        match incoming.method {
            Some("item/agentMessage/delta") => turn.on_delta(line),
            Some("turn/completed") => {
                // A failed turn has the same method and another status.
                ensure!(line.contains("\"completed\""), "turn failed: {line}");
                let params = json!({"threadId": thread_id});
                let id = turn.number * CALLS + UNSUBSCRIBE;
                turns
                    .completed
                    .extend(turns.running.remove(thread_id).map(ActiveTurn::finish));
                self.call(id, "thread/unsubscribe", &params).await?;
            }
            _ => {}
        }
        Ok(())
    }

    async fn on_response(
        &mut self,
        id: usize,
        result: &Value,
        prompt: &str,
        turns: &mut TurnTable,
    ) -> anyhow::Result<()> {
        let (number, call) = (id / CALLS, id % CALLS);
        if call == THREAD_START
            && let Some(turn) = turns.starting.remove(&number)
        {
            let thread = result["thread"]["id"]
                .as_str()
                .context("the response to `thread/start` has no thread id")?;
            turns.running.insert(thread.to_owned(), turn);
            let content = json!([{"type": "input_text", "text": prompt}]);
            let items = json!([{"type": "message", "role": "user", "content": content}]);
            let params = json!({"threadId": thread, "items": items});
            self.call(
                number * CALLS + INJECT_ITEMS,
                "thread/inject_items",
                &params,
            )
            .await?;
        } else if call == INJECT_ITEMS {
            let (thread, _) = turns
                .running
                .iter()
                .find(|(_, turn)| turn.number == number)
                .context("no running turn has this call")?;
            let params = json!({"threadId": thread, "input": [], "summary": "none"});
            self.call(number * CALLS + TURN_START, "turn/start", &params)
                .await?;
        }
        Ok(())
    }

    async fn call(&mut self, id: usize, method: &str, params: &Value) -> anyhow::Result<()> {
        let line = format!("{{\"id\":{id},\"method\":\"{method}\",\"params\":{params}}}\n");
        Ok(self.stdin.write_all(line.as_bytes()).await?)
    }
}

impl ActiveTurn {
    fn new(number: usize) -> Self {
        Self {
            number,
            sample: RequestSample::default(),
            started_at: Instant::now(),
        }
    }

    fn on_delta(&mut self, line: &str) {
        let now = timestamp::now();
        self.sample.deltas += 1;
        self.sample
            .first_token
            .get_or_insert(self.started_at.elapsed());
        let written = Timestamp::after("\"delta\":\"", line);
        self.sample
            .delays
            .extend(written.map(|written| now.since(written)));
    }

    fn finish(mut self) -> RequestSample {
        self.sample.total = self.started_at.elapsed();
        self.sample.is_complete = true;
        self.sample
    }
}
