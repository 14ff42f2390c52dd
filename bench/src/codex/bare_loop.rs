//! A child of `codex app-server` and a bare loop over its pipes: what is left when the sidecar is taken away.
//! The calls are those that the sidecar makes; nothing is checked, bounded or kept that a benchmark does not need.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{Instant, sleep_until};
use xtask::command::bound_to_us;

use crate::client::Visit;
use crate::timestamp::{self, Stamp};

/// The calls of one turn; the id of a call is its turn's number times this, and its own.
const CALLS: usize = 4;

/// When the next turn begins.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// As soon as fewer than so many run.
    AtOnce(usize),
    /// After this time, whatever has become of those before.
    Every(Duration),
}

/// A child whose handshake is over; it is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Pipe {
    _child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

#[derive(Deserialize)]
struct Incoming<'a> {
    id: Option<usize>,
    method: Option<&'a str>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    result: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AboutThread<'a> {
    thread_id: &'a str,
}

/// A turn that has begun.
struct Running {
    number: usize,
    visit: Visit,
    begun: Instant,
}

/// Turns that are under way: before and after the child has named their thread.
#[derive(Default)]
struct Turns {
    unnamed: HashMap<usize, Running>,
    named: HashMap<String, Running>,
    done: Vec<Visit>,
}

impl Pipe {
    /// Starts `program app-server` in `home` and shakes hands.
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
        bound_to_us(command.as_std_mut(), Signal::SIGKILL);
        let mut child = command.spawn().context("Codex cannot be started")?;
        let stdin = child.stdin.take().context("stdin is piped")?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let lines = BufReader::with_capacity(1 << 16, stdout).lines();
        let mut pipe = Self {
            _child: child,
            stdin,
            lines,
        };
        pipe.shake_hands().await?;
        Ok(pipe)
    }

    async fn shake_hands(&mut self) -> anyhow::Result<()> {
        let client = json!({"name": "bench", "title": "bench", "version": "0"});
        let params = json!({"clientInfo": client, "capabilities": {"experimentalApi": true}});
        self.call(0, "initialize", &params).await?;
        self.lines.next_line().await?.context("it answers")?;
        self.stdin
            .write_all(b"{\"method\":\"initialized\"}\n")
            .await?;
        Ok(())
    }

    /// Plays so many turns.
    ///
    /// # Errors
    /// When the child ends or a turn fails.
    pub(crate) async fn turns(
        &mut self,
        prompt: &str,
        total: usize,
        pace: Pace,
    ) -> anyhow::Result<Vec<Visit>> {
        let mut turns = Turns::default();
        let (mut begun, mut due) = (0, Instant::now());
        while turns.done.len() < total {
            let may_begin = begun < total
                && match pace {
                    Pace::AtOnce(turns_at_once) => begun - turns.done.len() < turns_at_once,
                    Pace::Every(_) => true,
                };
            tokio::select! {
                biased;
                () = sleep_until(due), if may_begin => {
                    self.begin(begun, &mut turns).await?;
                    begun += 1;
                    if let Pace::Every(time) = pace {
                        due += time;
                    }
                }
                line = self.lines.next_line() => {
                    let line = line?.context("the child ended")?;
                    self.on_line(&line, prompt, &mut turns).await?;
                }
            }
        }
        Ok(turns.done)
    }

    async fn begin(&mut self, number: usize, turns: &mut Turns) -> anyhow::Result<()> {
        turns.unnamed.insert(number, Running::new(number));
        let start = json!({
            "ephemeral": true, "model": "gpt-5", "approvalPolicy": "never", "sandbox": "read-only",
            "baseInstructions": "", "environments": [],
        });
        self.call(number * CALLS + 1, "thread/start", &start).await
    }

    async fn on_line(&mut self, line: &str, prompt: &str, turns: &mut Turns) -> anyhow::Result<()> {
        let incoming: Incoming<'_> = serde_json::from_str(line)?;
        if let (Some(id), Some(result)) = (incoming.id, incoming.result) {
            return self.on_answer(id, &result, prompt, turns).await;
        }
        let about = incoming.params.map(RawValue::get).unwrap_or_default();
        let Ok(AboutThread { thread_id }) = serde_json::from_str(about) else {
            return Ok(());
        };
        let Some(running) = turns.named.get_mut(thread_id) else {
            return Ok(());
        };
        match incoming.method {
            Some("item/agentMessage/delta") => running.on_delta(line),
            Some("turn/completed") => {
                ensure!(line.contains("\"completed\""), "the turn failed: {line}");
                let params = json!({"threadId": thread_id});
                let id = running.number * CALLS + 4;
                turns
                    .done
                    .extend(turns.named.remove(thread_id).map(Running::end));
                self.call(id, "thread/unsubscribe", &params).await?;
            }
            _ => {}
        }
        Ok(())
    }

    async fn on_answer(
        &mut self,
        id: usize,
        result: &Value,
        prompt: &str,
        turns: &mut Turns,
    ) -> anyhow::Result<()> {
        let named = (id % CALLS == 1).then(|| turns.unnamed.remove(&(id / CALLS)));
        if let Some(Some(running)) = named {
            let thread = result["thread"]["id"]
                .as_str()
                .context("a thread has an id")?;
            turns.named.insert(thread.to_owned(), running);
            let content = json!([{"type": "input_text", "text": prompt}]);
            let items = json!([{"type": "message", "role": "user", "content": content}]);
            let inject = json!({"threadId": thread, "items": items});
            self.call(id + 1, "thread/inject_items", &inject).await?;
        } else if id % CALLS == 2 {
            let thread = turns
                .named
                .iter()
                .find(|(_, running)| running.number == id / CALLS);
            let (thread, _) = thread.context("the turn has begun")?;
            let start = json!({"threadId": thread, "input": [], "summary": "none"});
            self.call(id + 1, "turn/start", &start).await?;
        }
        Ok(())
    }

    async fn call(&mut self, id: usize, method: &str, params: &Value) -> anyhow::Result<()> {
        let line = format!("{{\"id\":{id},\"method\":\"{method}\",\"params\":{params}}}\n");
        Ok(self.stdin.write_all(line.as_bytes()).await?)
    }
}

impl Running {
    fn new(number: usize) -> Self {
        Self {
            number,
            visit: Visit::default(),
            begun: Instant::now(),
        }
    }

    fn on_delta(&mut self, line: &str) {
        let now = timestamp::now();
        self.visit.deltas += 1;
        self.visit.first_token.get_or_insert(self.begun.elapsed());
        let written = Stamp::behind("\"delta\":\"", line);
        self.visit
            .delays
            .extend(written.map(|written| now.since(written)));
    }

    fn end(mut self) -> Visit {
        self.visit.whole = self.begun.elapsed();
        self.visit.is_whole = true;
        self.visit
    }
}
