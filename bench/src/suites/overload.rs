//! Ten times more requests than the sidecar can serve.
//!
//! Accepted requests must keep their latency, the others must get a cheap rejection with `retry-after`, and memory must
//! not grow. The load is an open loop, because the clients of an overloaded server do not wait for each other.

use std::time::Duration;

use anyhow::ensure;
use tests::http::{bearer, post};
use tests::scripted_model::ScriptedModel;

use super::stack::{CpuUsage, Stack};
use crate::client::{Load, RequestSample, chat, closed_loop, open_loop};
use crate::codex::Workload;
use crate::report::{Cell, Section, Table};
use crate::settings::Settings;
use crate::stats::{count, ms, quantile};
use crate::usage;

/// Value of `PROXY_SSE_MAX_CONCURRENCY`.
const PERMITS: u32 = 8;

/// A turn of [`TURN_TIME`].
const SHORT_TURN: Workload = Workload {
    deltas: 26,
    pause_us: 10_000,
};

/// Duration of [`SHORT_TURN`]: 25 pauses of 10 ms.
const TURN_TIME: Duration = Duration::from_millis(250);

/// A turn that holds its permit until the end of the measurement.
const LONG_TURN: Workload = Workload {
    deltas: 2,
    pause_us: 600_000_000,
};

pub(super) async fn run(settings: &Settings) -> anyhow::Result<Section> {
    let columns = [
        "requests/s",
        "served/s",
        "served: first token p50, ms",
        "p99, ms",
        "total p99, ms",
        "rejected/s",
        "rejected: p50, ms",
        "p99, ms",
        "sidecar, MiB",
        "Envoy, MiB",
    ];
    let mut table = Table::new(
        format!(
            "{PERMITS} permits, turns of {} ms, real Envoy, instant child",
            TURN_TIME.as_millis()
        ),
        &columns,
    );
    let mut rejections = Table::new(
        "Cost of a rejection",
        &["Envoy CPU, µs", "sidecar CPU, µs", "p50, ms", "p99, ms"],
    );
    for queue in [0, 16] {
        let stack = start_stack(settings, queue).await?;
        for factor in [0.5, 10.0] {
            let load = apply_load(settings, &stack, factor).await?;
            check_responses(&load)?;
            add_row(
                &mut table,
                &format!("queue of {queue}, {factor} × the capacity"),
                &load,
                &stack,
            );
        }
        if queue == 0 {
            measure_rejections(settings, &stack, &mut rejections).await?;
        }
    }
    Ok(Section {
        name: "overload",
        tables: vec![table, rejections],
        figures: Vec::new(),
    })
}

async fn start_stack(settings: &Settings, queue: usize) -> anyhow::Result<Stack> {
    let model = ScriptedModel::start().await?;
    let sidecar = settings
        .instant_sidecar(&model)
        .env("PROXY_SSE_MAX_CONCURRENCY", &PERMITS.to_string())
        .env("PROXY_QUEUE_MAX", &queue.to_string());
    Ok(Stack::start(sidecar, model).await)
}

/// Sends requests at `factor` times the rate that the permits allow.
async fn apply_load(settings: &Settings, stack: &Stack, factor: f64) -> anyhow::Result<Load> {
    let interval = (TURN_TIME / PERMITS).div_f64(factor);
    let time = settings.pick(Duration::from_secs(10), Duration::from_secs(1));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a few thousand requests, of which a fraction does not matter"
    )]
    let requests = time.div_duration_f64(interval) as usize;
    let request = || chat("codex-5", &SHORT_TURN.prompt());
    open_loop(&stack.target(), interval, requests, request).await
}

/// Checks that every response is a complete stream, or a 429 with `retry-after`.
fn check_responses(load: &Load) -> anyhow::Result<()> {
    let is_served = |sample: &RequestSample| sample.status == 200 && sample.is_complete;
    let is_rejected = |sample: &RequestSample| sample.status == 429 && sample.has_retry_after;
    let other = load
        .samples
        .iter()
        .find(|sample| !is_served(sample) && !is_rejected(sample));
    ensure!(other.is_none(), "neither served nor rejected: {other:?}");
    Ok(())
}

fn add_row(table: &mut Table, name: &str, load: &Load, stack: &Stack) {
    let (served, rejected): (Vec<_>, Vec<_>) =
        load.samples.iter().partition(|sample| sample.status == 200);
    let seconds = load.elapsed.as_secs_f64();
    let first_tokens: Vec<f64> = served
        .iter()
        .filter_map(|sample| sample.first_token)
        .map(ms)
        .collect();
    let served_totals: Vec<f64> = served.iter().map(|sample| ms(sample.total)).collect();
    let rejected_totals: Vec<f64> = rejected.iter().map(|sample| ms(sample.total)).collect();
    // Below the capacity there are no rejections; an empty cell, rather than a quantile of 0 ms.
    let of_rejected = |q: f64| (!rejected_totals.is_empty()).then(|| quantile(&rejected_totals, q));
    let cells = [
        Some(load.rate()),
        Some(count(served.len()) / seconds),
        Some(quantile(&first_tokens, 0.5)),
        Some(quantile(&first_tokens, 0.99)),
        Some(quantile(&served_totals, 0.99)),
        Some(count(rejected.len()) / seconds),
        of_rejected(0.5),
        of_rejected(0.99),
        Some(usage::resident_kib(stack.sidecar.pid()) / 1024.0),
        Some(usage::resident_kib(stack.envoy.pid()) / 1024.0),
    ];
    table.row(name, cells.map(Cell::from));
}

/// Measures rejections while long turns hold all permits, and rejections of a wrong key.
async fn measure_rejections(
    settings: &Settings,
    stack: &Stack,
    table: &mut Table,
) -> anyhow::Result<()> {
    let target = stack.target();
    let mut permit_holders = Vec::new();
    for _ in 0..PERMITS {
        let mut client = target.connect().await?;
        permit_holders.push(client.stream(chat("codex-5", &LONG_TURN.prompt())).await?);
    }
    let before = stack.cpu_usage();
    let without_permit = closed_loop(&target, 4, settings.slice(), || {
        chat("codex-5", &SHORT_TURN.prompt())
    })
    .await?
    .require_status(429)?;
    add_cost_row(
        table,
        "429 `concurrency_exceeded`, no permit free",
        &without_permit,
        stack
            .cpu_usage()
            .per_request_since(before, without_permit.samples.len()),
    );
    let before = stack.cpu_usage();
    let request = || bearer(post("/v1/chat/completions", "{}"), "sk-wrong");
    let wrong_key = closed_loop(&target, 4, settings.slice(), request).await?;
    // 401 until the address has exceeded `unauthenticated_rate_limit`, then 429.
    let is_rejected = wrong_key
        .samples
        .iter()
        .all(|sample| sample.status == 401 || sample.status == 429);
    ensure!(is_rejected, "a wrong key was accepted");
    add_cost_row(
        table,
        "401, then 429 `rate_limited`, wrong key",
        &wrong_key,
        stack
            .cpu_usage()
            .per_request_since(before, wrong_key.samples.len()),
    );
    // Dropped only now: a dropped stream interrupts its turn and frees the permit.
    drop(permit_holders);
    Ok(())
}

fn add_cost_row(table: &mut Table, name: &str, load: &Load, cpu: CpuUsage) {
    let latencies = [load.total_ms(0.5), load.total_ms(0.99)];
    let cells = [cpu.envoy, cpu.sidecar].into_iter().chain(latencies);
    table.row(name, cells.map(Cell::from));
}
