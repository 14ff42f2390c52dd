//! Ten times as many requests as can be served: those that are accepted keep their latency, the others are refused
//! cheaply and told when to come again, and memory stays where it was.
//! An open loop, since clients of an overloaded server do not wait for it.

use std::time::Duration;

use anyhow::ensure;
use tests::scripted_model::ScriptedModel;

use super::stack::{Stack, Used};
use crate::Settings;
use crate::client::{Load, Visit, chat, closed_loop, open_loop};
use crate::codex::Order;
use crate::report::{Cell, Section, Table};
use crate::stats::{count, ms, quantile};
use crate::usage;

/// `PROXY_SSE_MAX_CONCURRENCY`.
const SLOTS: u32 = 8;

/// A turn of a quarter of a second.
const ORDER: Order = Order {
    deltas: 26,
    pause_us: 10_000,
};

/// How long one lasts.
const TURN: Duration = Duration::from_millis(250);

/// One that holds its slot while refusals are counted.
const LONG: Order = Order {
    deltas: 2,
    pause_us: 600_000_000,
};

pub(super) async fn run(settings: &Settings) -> anyhow::Result<Section> {
    let columns = [
        "asked/s",
        "served/s",
        "served: first token p50, ms",
        "p99, ms",
        "whole p99, ms",
        "refused/s",
        "refused: p50, ms",
        "p99, ms",
        "sidecar, MiB",
        "Envoy, MiB",
    ];
    let mut table = Table::new(
        format!(
            "{SLOTS} slots, turns of {} ms, real Envoy, instant child",
            TURN.as_millis()
        ),
        &columns,
    );
    let mut costs = Table::new(
        "What a refusal costs",
        &[
            "CPU in Envoy, µs",
            "CPU in the sidecar, µs",
            "p50, ms",
            "p99, ms",
        ],
    );
    for queue in [0, 16] {
        let stack = stack(settings, queue).await?;
        for times in [0.5, 10.0] {
            let load = offer(settings, &stack, times).await?;
            honest(&load)?;
            row(
                &mut table,
                &format!("queue of {queue}, {times} × the capacity"),
                &load,
                &stack,
            );
        }
        if queue == 0 {
            refusals(settings, &stack, &mut costs).await?;
        }
    }
    Ok(Section {
        name: "overload",
        tables: vec![table, costs],
        figures: Vec::new(),
    })
}

async fn stack(settings: &Settings, queue: usize) -> anyhow::Result<Stack> {
    let model = ScriptedModel::start().await?;
    let sidecar = settings
        .instant_sidecar(&model)
        .env("PROXY_SSE_MAX_CONCURRENCY", &SLOTS.to_string())
        .env("PROXY_QUEUE_MAX", &queue.to_string());
    Ok(Stack::start(sidecar, model).await)
}

async fn offer(settings: &Settings, stack: &Stack, times: f64) -> anyhow::Result<Load> {
    let every = (TURN / SLOTS).div_f64(times);
    let time = settings.pick(Duration::from_secs(10), Duration::from_secs(1));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "some thousands, and no fraction of one matters"
    )]
    let requests = time.div_duration_f64(every) as usize;
    let request = || chat("codex-5", &ORDER.prompt());
    open_loop(&stack.door(), every, requests, request).await
}

/// Served whole, or refused with 429 and a time to come again; nothing else.
fn honest(load: &Load) -> anyhow::Result<()> {
    let is_served = |visit: &Visit| visit.status == 200 && visit.is_whole;
    let is_refused = |visit: &Visit| visit.status == 429 && visit.has_retry_after;
    let other = load
        .visits
        .iter()
        .find(|visit| !is_served(visit) && !is_refused(visit));
    ensure!(other.is_none(), "neither served nor refused: {other:?}");
    Ok(())
}

fn row(table: &mut Table, name: &str, load: &Load, stack: &Stack) {
    let (served, refused): (Vec<_>, Vec<_>) =
        load.visits.iter().partition(|visit| visit.status == 200);
    let seconds = load.elapsed.as_secs_f64();
    let first: Vec<f64> = served
        .iter()
        .filter_map(|visit| visit.first_token)
        .map(ms)
        .collect();
    let whole: Vec<f64> = served.iter().map(|visit| ms(visit.whole)).collect();
    let gone: Vec<f64> = refused.iter().map(|visit| ms(visit.whole)).collect();
    let of_refused = |q: f64| (!gone.is_empty()).then(|| quantile(&gone, q));
    let cells = [
        Some(load.rate()),
        Some(count(served.len()) / seconds),
        Some(quantile(&first, 0.5)),
        Some(quantile(&first, 0.99)),
        Some(quantile(&whole, 0.99)),
        Some(count(refused.len()) / seconds),
        of_refused(0.5),
        of_refused(0.99),
        Some(usage::resident_kib(stack.sidecar.pid()) / 1024.0),
        Some(usage::resident_kib(stack.envoy.pid()) / 1024.0),
    ];
    table.row(name, cells.map(Cell::from));
}

/// All slots are held, and clients ask on.
async fn refusals(settings: &Settings, stack: &Stack, table: &mut Table) -> anyhow::Result<()> {
    let door = stack.door();
    let mut holders = Vec::new();
    for _ in 0..SLOTS {
        let mut client = door.open().await?;
        holders.push(client.stream(chat("codex-5", &LONG.prompt())).await?);
    }
    let before = stack.used();
    let load = closed_loop(&door, 4, settings.slice(), || {
        chat("codex-5", &ORDER.prompt())
    });
    let load = load.await?.all(429)?;
    let name = "429 `concurrency_exceeded`, all slots held";
    cost_row(
        table,
        name,
        &load,
        stack.used().per(before, load.visits.len()),
    );
    let before = stack.used();
    let wrong = || tests::http::bearer(tests::http::post("/v1/chat/completions", "{}"), "sk-wrong");
    let load = closed_loop(&door, 4, settings.slice(), wrong).await?;
    let strangers = load
        .visits
        .iter()
        .all(|visit| visit.status == 401 || visit.status == 429);
    ensure!(strangers, "a wrong key was let in");
    let name = "401, then 429 `rate_limited`, a wrong key";
    cost_row(
        table,
        name,
        &load,
        stack.used().per(before, load.visits.len()),
    );
    drop(holders);
    Ok(())
}

fn cost_row(table: &mut Table, name: &str, load: &Load, used: Used) {
    let latencies = [load.whole_ms(0.5), load.whole_ms(0.99)];
    let cells = [used.envoy, used.sidecar].into_iter().chain(latencies);
    table.row(name, cells.map(Cell::from));
}
