//! A stand-in for Codex that answers at once, for measuring what the sidecar itself costs, and for nothing else.
//! Codex app-server, protocol v2: the answers and notifications that Codex 0.169 was seen to give to a plain turn.
//!
//! The text of the last message is the order: `{"deltas": 100, "pause_us": 20000}`. Each delta is the time at which it
//! was written, so that whoever reads it, through whatever, knows how long it took.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use bench::codex::Order;
use bench::timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::pipe;
use tokio::sync::Notify;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, sleep_until};

/// Deltas of one turn that are written in one go when it has no pauses, so that turns take turns.
const AT_ONCE: u32 = 64;

/// What `--version` says: the version whose protocol is spoken here.
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
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("--version") => writeln!(io::stdout(), "{VERSION}"),
        Some("debug") => {
            let models = json!({"models": [{"slug": "gpt-5", "context_window": 272_000}]});
            writeln!(io::stdout(), "{models}")
        }
        Some("app-server") => {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build()?;
            LocalSet::new().block_on(&runtime, serve())
        }
        // The sandbox is asked for, to see whether it works. There is none.
        _ => Err(io::Error::from(io::ErrorKind::Unsupported)),
    }
}

/// Lines that wait for the pipe.
#[derive(Default)]
struct Output {
    waiting: RefCell<Vec<u8>>,
    more: Notify,
}

impl Output {
    fn say(&self, line: &[u8]) {
        let mut waiting = self.waiting.borrow_mut();
        waiting.extend_from_slice(line);
        waiting.push(b'\n');
        self.more.notify_one();
    }

    fn answer(&self, id: &RawValue, result: &Value) {
        self.say(format!(r#"{{"id":{id},"result":{result}}}"#).as_bytes());
    }

    fn notify(&self, method: &str, params: &Value) {
        self.say(format!(r#"{{"method":"{method}","params":{params}}}"#).as_bytes());
    }

    /// Writes what there is, again and again, until nobody reads it.
    async fn pump(&self, mut pipe: pipe::Sender) {
        let mut writing = Vec::new();
        loop {
            self.more.notified().await;
            writing.clear();
            std::mem::swap(&mut writing, &mut self.waiting.borrow_mut());
            if pipe.write_all(&writing).await.is_err() {
                return;
            }
        }
    }
}

/// What is known of each thread: the last message.
type Orders = HashMap<String, Order>;

async fn serve() -> io::Result<()> {
    let stdin = pipe::Receiver::from_owned_fd(owned(io::stdin().as_fd())?)?;
    let stdout = pipe::Sender::from_owned_fd(owned(io::stdout().as_fd())?)?;
    let output = Rc::new(Output::default());
    let pump = Rc::clone(&output);
    spawn_local(async move { pump.pump(stdout).await });
    let mut lines = BufReader::with_capacity(1 << 16, stdin).lines();
    let (mut orders, mut threads) = (Orders::new(), 0);
    while let Some(line) = lines.next_line().await? {
        if let Ok(call) = serde_json::from_str::<Call<'_>>(&line) {
            on_call(&call, &mut orders, &mut threads, &output);
        }
    }
    Ok(())
}

fn owned(fd: std::os::fd::BorrowedFd<'_>) -> io::Result<OwnedFd> {
    fd.try_clone_to_owned()
}

fn on_call(call: &Call<'_>, orders: &mut Orders, threads: &mut u64, output: &Rc<Output>) {
    let Some(id) = call.id else {
        return; // `initialized`
    };
    let thread = call.params["threadId"].as_str().unwrap_or_default();
    match call.method {
        "getAuthStatus" => output.answer(id, &json!({"requiresOpenaiAuth": false})),
        "thread/start" => {
            *threads += 1;
            let thread = json!({"id": format!("thread-{threads}"), "ephemeral": true});
            output.answer(id, &json!({"thread": thread, "model": "gpt-5"}));
        }
        "thread/inject_items" => {
            let order = Order::of(&call.params["items"]);
            orders.insert(thread.to_owned(), order);
            output.answer(id, &json!({}));
        }
        "turn/start" => {
            let turn = format!("turn-of-{thread}");
            output.answer(id, &json!({"turn": {"id": turn, "status": "inProgress"}}));
            let order = orders.get(thread).copied().unwrap_or_default();
            spawn_local(play(thread.to_owned(), turn, order, Rc::clone(output)));
        }
        "thread/unsubscribe" => {
            orders.remove(thread);
            output.answer(id, &json!({"status": "unsubscribed"}));
        }
        _ => output.answer(id, &json!({})),
    }
}

/// Plays one turn. Pauses are kept from the turn's start on, so that they do not add up to more than was ordered.
async fn play(thread: String, turn: String, order: Order, output: Rc<Output>) {
    let started = Instant::now();
    let pause = Duration::from_micros(order.pause_us);
    for delta in 0..order.deltas {
        if delta > 0 && !pause.is_zero() {
            sleep_until(started + pause * delta).await;
        } else if delta % AT_ONCE == AT_ONCE - 1 {
            tokio::task::yield_now().await;
        }
        output.say(delta_line(&thread, &turn).as_bytes());
    }
    let about = |more: Value| {
        let mut params = json!({"threadId": thread, "turnId": turn});
        if let (Some(params), Value::Object(more)) = (params.as_object_mut(), more) {
            params.extend(more);
        }
        params
    };
    let item = json!({"type": "agentMessage", "id": "msg_0", "text": ""});
    output.notify("item/completed", &about(json!({"item": item})));
    let tokens =
        json!({"inputTokens": 11, "outputTokens": order.deltas, "totalTokens": 11 + order.deltas});
    let usage = json!({"tokenUsage": {"total": tokens, "last": tokens}});
    output.notify("thread/tokenUsage/updated", &about(usage));
    let completed = json!({"turn": {"id": turn, "items": [], "status": "completed"}});
    output.notify("turn/completed", &about(completed));
}

/// As long as one of Codex.
fn delta_line(thread: &str, turn: &str) -> String {
    let now = timestamp::now();
    format!(
        r#"{{"method":"item/agentMessage/delta","params":{{"threadId":"{thread}","turnId":"{turn}","itemId":"msg_0","delta":"{now} "}},"emittedAtMs":1795366161030}}"#
    )
}
