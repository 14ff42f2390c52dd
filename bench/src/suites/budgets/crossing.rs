//! The time from the delta that crosses a budget to the last byte of the response, with the real Codex and a model that
//! streams on.
//!
//! The budget ends inside a delta, so that the client reads the allowed part of that delta first. The time from there lacks
//! the way of the delta from the model to the client; the time from the delta before it has that way, and the pause of the
//! model too.

use anyhow::ensure;
use http::Request;
use http::header::AUTHORIZATION;
use serde_json::{Value, json};
use tests::envoy::EnvoyOptions;
use tests::http::{Body, bearer, with};
use tests::scripted_model::{Script, ScriptedModel};
use tests::sse::Events;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::{Target, chat};
use crate::report::{Cell, Table};
use crate::settings::Settings;
use crate::stats::{count, ms, quantile};
use crate::suites::stack::Stack;

/// The budget of each key: 400 characters, which end inside a delta of 7.
const BUDGET: &str = "day.output=100";

/// Milliseconds between two deltas of the model.
const PAUSE_MS: u64 = 5;

/// The times of one stream in milliseconds.
#[derive(Debug, Clone, Copy)]
struct Crossing {
    /// From the client's read of the last text.
    last_text: f64,
    /// From the client's read of the text before it.
    text_before: f64,
}

pub(super) async fn run(settings: &Settings) -> anyhow::Result<Table> {
    let streams = settings.pick(200, 4);
    let mut table = Table::new(
        format!("Time to the last byte after the budget, model that writes every {PAUSE_MS} ms"),
        &[
            "from the crossing delta: p50, ms",
            "p99, ms",
            "max, ms",
            "from the delta before: p50, ms",
            "p99, ms",
            "max, ms",
            "streams",
        ],
    );
    for parallel in settings.pick(vec![1, 16], vec![2]) {
        for through_envoy in [false, true] {
            let crossings = measure(settings, streams, parallel, through_envoy).await?;
            let way = if through_envoy {
                "Envoy and sidecar"
            } else {
                "sidecar"
            };
            let label = format!("{way}, {parallel} at a time");
            table.row(label, numbers(&crossings).map(Cell::from));
        }
    }
    Ok(table)
}

fn numbers(crossings: &[Crossing]) -> [f64; 7] {
    let from_text: Vec<f64> = crossings.iter().map(|times| times.last_text).collect();
    let from_before: Vec<f64> = crossings.iter().map(|times| times.text_before).collect();
    let [a, b, c] = [0.5, 0.99, 1.0].map(|q| quantile(&from_text, q));
    let [d, e, f] = [0.5, 0.99, 1.0].map(|q| quantile(&from_before, q));
    [a, b, c, d, e, f, count(crossings.len())]
}

/// Starts a stack, and ends a stream of each of as many keys at their budgets.
async fn measure(
    settings: &Settings,
    streams: usize,
    parallel: usize,
    through_envoy: bool,
) -> anyhow::Result<Vec<Crossing>> {
    let model = ScriptedModel::start().await?;
    let text = json!({"text": "0123456789".repeat(1000), "delta_chars": 7, "delay_ms": PAUSE_MS});
    model.set_default(Some(Script::parse(text)?));
    let sidecar = settings
        .sidecar(&model)
        .env("PROXY_SSE_MAX_CONCURRENCY", "0");
    let keys: Vec<Value> = (0..streams)
        .map(|index| json!({"id": id(index), "key": key(index), "budget": BUDGET}))
        .collect();
    let stack = Stack::start_with(sidecar, model, |envoy: EnvoyOptions| {
        envoy.filter("keys", json!(keys))
    })
    .await;
    let target = match through_envoy {
        true => stack.target(),
        false => Target::Unix(stack.sidecar.socket()),
    };
    // The first turn of a child takes longer than the next.
    crossing(&target, request_of(0, through_envoy)).await?;
    let mut crossings = Vec::new();
    let mut running = JoinSet::new();
    for index in 1..streams {
        if running.len() == parallel
            && let Some(ended) = running.join_next().await
        {
            crossings.push(ended??);
        }
        let target = target.clone();
        running.spawn(async move { crossing(&target, request_of(index, through_envoy)).await });
    }
    while let Some(ended) = running.join_next().await {
        crossings.push(ended??);
    }
    Ok(crossings)
}

fn id(index: usize) -> String {
    format!("key-{index}")
}

fn key(index: usize) -> String {
    format!("the-key-of-client-{index:04}-of-the-bench-run")
}

/// A request with the key of this index, or with the headers that the filter sets for that key.
fn request_of(index: usize, through_envoy: bool) -> Request<Body> {
    let mut request = chat("codex-5", "Go on.");
    if through_envoy {
        request.headers_mut().remove(AUTHORIZATION);
        return bearer(request, &key(index));
    }
    let request = with(request, "x-codex-edge-client", &id(index));
    with(request, "x-codex-edge-budget", BUDGET)
}

/// Reads a response to its end, which must be that of the budget.
async fn crossing(target: &Target, request: Request<Body>) -> anyhow::Result<Crossing> {
    let mut client = target.connect().await?;
    let stream = client.stream(request).await?;
    ensure!(stream.status == 200, "status {}", stream.status);
    let mut events = Events::new(stream);
    let (mut last_text, mut text_before) = (Instant::now(), Instant::now());
    let mut is_cut = false;
    while let Some(event) = events.next().await? {
        is_cut |= event.contains("\"finish_reason\":\"length\"");
        if event.contains("\"content\":\"") && !event.contains("\"content\":\"\"") {
            (text_before, last_text) = (last_text, Instant::now());
        }
    }
    let ended = Instant::now();
    ensure!(is_cut, "the stream did not end at the budget");
    Ok(Crossing {
        last_text: ms(ended - last_text),
        text_before: ms(ended - text_before),
    })
}
