//! A stand-in for Codex that responds immediately, for measurements of the sidecar's own cost.
//!
//! The program speaks the app-server protocol, version 2, with the responses and notifications that Codex 0.169 was seen
//! to write for a plain turn. The text of the last message is the workload, for example
//! `{"deltas": 100, "pause_us": 20000}`. The text of each delta is the time of its write, so that a client can compute
//! the delay of the delta.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use bench::codex::Workload;
use bench::timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::pipe;
use tokio::sync::Notify;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, sleep_until};

/// Deltas of a turn without pauses between two yields, so that concurrent turns alternate.
const DELTAS_PER_YIELD: u32 = 64;

/// The notification that a thread is idle, for which some gateways wait at the end of a turn.
const STATUS: &str = "thread/status/changed";

/// Output of `--version`: the version of Codex with the protocol of this program.
const VERSION: &str = "codex-cli 0.169.0";

#[derive(Deserialize)]
struct Call<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: &'a str,
    #[serde(default)]
    params: Value,
}

fn main() -> io::Result<()> {
    // Settings, `-c key=value`, may stand before the command.
    let mut arguments = std::env::args().skip(1);
    let mut command = arguments.next();
    while command.as_deref() == Some("-c") {
        command = arguments.nth(1);
    }
    match command.as_deref() {
        Some("--version") => writeln!(io::stdout(), "{VERSION}"),
        Some("debug") => {
            let model = json!({"slug": "gpt-5", "visibility": "list", "context_window": 272_000});
            let models = json!({"models": [model]});
            writeln!(io::stdout(), "{models}")
        }
        Some("app-server") => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            LocalSet::new().block_on(&runtime, serve())
        }
        // The sidecar's check of the sandbox; the stand-in has no sandbox.
        _ => Err(io::Error::from(io::ErrorKind::Unsupported)),
    }
}

/// Lines to be written to the pipe.
#[derive(Default)]
struct Output {
    pending: RefCell<Vec<u8>>,
    added: Notify,
    /// Whether the client has opted out of [`STATUS`].
    omits_status: Cell<bool>,
}

impl Output {
    fn write_line(&self, line: &[u8]) {
        let mut pending = self.pending.borrow_mut();
        pending.extend_from_slice(line);
        pending.push(b'\n');
        self.added.notify_one();
    }

    fn respond(&self, id: &RawValue, result: &Value) {
        self.write_line(format!(r#"{{"id":{id},"result":{result}}}"#).as_bytes());
    }

    fn notify(&self, method: &str, params: &Value) {
        self.write_line(format!(r#"{{"method":"{method}","params":{params}}}"#).as_bytes());
    }

    /// Writes pending lines until the reader closes the pipe.
    async fn flush_until_closed(&self, mut pipe: pipe::Sender) {
        let mut written = Vec::new();
        loop {
            self.added.notified().await;
            written.clear();
            // Swapped, so that lines can be added while the pipe is full, and both buffers keep their capacity.
            std::mem::swap(&mut written, &mut self.pending.borrow_mut());
            if pipe.write_all(&written).await.is_err() {
                return;
            }
        }
    }
}

/// Workload of each thread, by thread id.
type Workloads = HashMap<String, Workload>;

async fn serve() -> io::Result<()> {
    let stdin = pipe::Receiver::from_owned_fd(owned(io::stdin().as_fd())?)?;
    let stdout = pipe::Sender::from_owned_fd(owned(io::stdout().as_fd())?)?;
    let output = Rc::new(Output::default());
    let flushed = Rc::clone(&output);
    spawn_local(async move { flushed.flush_until_closed(stdout).await });
    let mut lines = BufReader::with_capacity(1 << 16, stdin).lines();
    let (mut workloads, mut threads) = (Workloads::new(), 0);
    while let Some(line) = lines.next_line().await? {
        if let Ok(call) = serde_json::from_str::<Call<'_>>(&line) {
            on_call(&call, &mut workloads, &mut threads, &output);
        }
    }
    Ok(())
}

fn owned(fd: std::os::fd::BorrowedFd<'_>) -> io::Result<OwnedFd> {
    fd.try_clone_to_owned()
}

fn on_call(call: &Call<'_>, workloads: &mut Workloads, threads: &mut u64, output: &Rc<Output>) {
    let Some(id) = call.id else {
        return; // The notification `initialized`.
    };
    let thread = call.params["threadId"].as_str().unwrap_or_default();
    match call.method {
        "initialize" => {
            let unwanted = call.params["capabilities"]["optOutNotificationMethods"].as_array();
            let omits = unwanted.is_some_and(|names| names.iter().any(|name| name == STATUS));
            output.omits_status.set(omits);
            output.respond(id, &json!({}));
        }
        "getAuthStatus" => output.respond(id, &json!({"requiresOpenaiAuth": false})),
        "thread/start" => {
            *threads += 1;
            let thread = json!({"id": format!("thread-{threads}"), "ephemeral": true});
            output.respond(id, &json!({"thread": thread, "model": "gpt-5"}));
        }
        "thread/inject_items" => {
            let workload = Workload::from_items(&call.params["items"]);
            workloads.insert(thread.to_owned(), workload);
            output.respond(id, &json!({}));
        }
        "turn/start" => {
            let turn = format!("turn-of-{thread}");
            output.respond(id, &json!({"turn": {"id": turn, "status": "inProgress"}}));
            let injected = workloads.get(thread).copied();
            // Callers that inject no items give the text of the turn.
            let workload = injected.unwrap_or_else(|| Workload::from_input(&call.params["input"]));
            spawn_local(run_turn(
                thread.to_owned(),
                turn,
                workload,
                Rc::clone(output),
            ));
        }
        "thread/unsubscribe" => {
            workloads.remove(thread);
            output.respond(id, &json!({"status": "unsubscribed"}));
        }
        _ => output.respond(id, &json!({})),
    }
}

/// Writes the notifications of one turn. Deltas are due relative to the start of the turn, so that delays do not add up.
async fn run_turn(thread: String, turn: String, workload: Workload, output: Rc<Output>) {
    let started = Instant::now();
    let pause = Duration::from_micros(workload.pause_us);
    for delta in 0..workload.deltas {
        if delta > 0 && !pause.is_zero() {
            sleep_until(started + pause * delta).await;
        } else if delta % DELTAS_PER_YIELD == DELTAS_PER_YIELD - 1 {
            tokio::task::yield_now().await;
        }
        output.write_line(delta_line(&thread, &turn).as_bytes());
    }
    let params_with = |fields: Value| {
        let mut params = json!({"threadId": thread, "turnId": turn});
        if let (Some(params), Value::Object(fields)) = (params.as_object_mut(), fields) {
            params.extend(fields);
        }
        params
    };
    let item = json!({"type": "agentMessage", "id": "msg_0", "text": ""});
    output.notify("item/completed", &params_with(json!({"item": item})));
    let tokens = json!({
        "inputTokens": 11, "outputTokens": workload.deltas, "totalTokens": 11 + workload.deltas,
    });
    let usage = json!({"tokenUsage": {"total": tokens, "last": tokens}});
    output.notify("thread/tokenUsage/updated", &params_with(usage));
    let completed = json!({"turn": {"id": turn, "items": [], "status": "completed"}});
    output.notify("turn/completed", &params_with(completed));
    if !output.omits_status.get() {
        output.notify(
            STATUS,
            &json!({"threadId": thread, "status": {"type": "idle"}}),
        );
    }
}

/// Returns the line of a delta, with the length of a line from Codex.
fn delta_line(thread: &str, turn: &str) -> String {
    // Taken for each delta, not for the whole batch: the client computes the delay from this time.
    let now = timestamp::now();
    format!(
        r#"{{"method":"item/agentMessage/delta","params":{{"threadId":"{thread}","turnId":"{turn}","itemId":"msg_0","delta":"{now}"}},"emittedAtMs":1795366161030}}"#
    )
}
