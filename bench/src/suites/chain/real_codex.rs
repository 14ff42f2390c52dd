//! The whole chain with an increasing number of clients: Envoy, sidecar, real Codex, scripted model.
//!
//! Limits are disabled, so that the suite shows the capacity of the machine and the process that exhausts the capacity.

use std::time::Duration;

use crate::client::{chat, closed_loop};
use crate::plot::{Figure, Series};
use crate::report::{Cell, Table};
use crate::settings::Settings;
use crate::stats::{count, medians};
use crate::suites::real_codex::{PROMPT, start_model};
use crate::suites::stack::Stack;

pub(super) async fn run(settings: &Settings) -> anyhow::Result<(Table, Figure)> {
    let columns = [
        "turns/s",
        "first token p50, ms",
        "first token p95, ms",
        "whole turn p95, ms",
        "Envoy CPU, ms per turn",
        "sidecar CPU",
        "Codex CPU",
    ];
    let mut table = Table::new("Turns through the whole chain, real Codex", &columns);
    let model = start_model().await?;
    let sidecar = settings
        .sidecar(&model)
        .env("PROXY_SSE_MAX_CONCURRENCY", "0");
    let stack = Stack::start(sidecar, model).await;
    let (mut p50, mut p95) = (Vec::new(), Vec::new());
    for clients in settings.pick(vec![1, 2, 4, 8, 16, 32, 64], vec![2]) {
        let mut rounds = Vec::new();
        for _ in 0..settings.rounds() {
            rounds.push(run_round(settings, &stack, clients).await?);
        }
        let numbers = medians(&rounds);
        p50.push((count(clients), numbers[1]));
        p95.push((count(clients), numbers[2]));
        table.row(format!("{clients} clients"), numbers.map(Cell::from));
    }
    let figure = Figure {
        file: "chain",
        title: "Time to the first token through the whole chain".into(),
        x: "concurrent clients".into(),
        y: "ms".into(),
        groups: None,
        series: vec![Series::new("p50", p50), Series::new("p95", p95)],
    };
    Ok((table, figure))
}

/// Returns one number per column of the table.
async fn run_round(settings: &Settings, stack: &Stack, clients: usize) -> anyhow::Result<[f64; 7]> {
    let time = settings.pick(Duration::from_secs(3), Duration::from_millis(200));
    let before = stack.cpu_usage();
    let load = closed_loop(&stack.target(), clients, time, || chat("codex-5", PROMPT))
        .await?
        .require_complete()?;
    let cpu = stack
        .cpu_usage()
        .per_request_since(before, load.samples.len());
    Ok([
        load.rate(),
        load.first_token_ms(0.5),
        load.first_token_ms(0.95),
        load.total_ms(0.95),
        cpu.envoy / 1000.0,
        cpu.sidecar / 1000.0,
        cpu.codex / 1000.0,
    ])
}
