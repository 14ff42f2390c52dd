//! The whole chain under more and more clients: Envoy, sidecar, real Codex, scripted model.
//! Limits are out of the way, so that what is seen is where the machine ends, and who uses it up.

use std::time::Duration;

use super::codex::{PROMPT, model};
use super::stack::Stack;
use crate::Settings;
use crate::client::{chat, closed_loop};
use crate::report::{Cell, Figure, Section, Series, Table};
use crate::stats::{count, medians};

pub(super) async fn run(settings: &Settings) -> anyhow::Result<Section> {
    let columns = [
        "turns/s",
        "first token p50, ms",
        "first token p95, ms",
        "whole turn p95, ms",
        "Envoy's CPU, ms a turn",
        "sidecar's",
        "Codex's",
    ];
    let mut table = Table::new("Turns through the whole chain, real Codex", &columns);
    let model = model().await?;
    let sidecar = settings
        .sidecar(&model)
        .env("PROXY_SSE_MAX_CONCURRENCY", "0");
    let stack = Stack::start(sidecar, model).await;
    let (mut middle, mut late) = (Vec::new(), Vec::new());
    for clients in settings.pick(vec![1, 2, 4, 8, 16, 32, 64], vec![2]) {
        let mut rounds = Vec::new();
        for _ in 0..settings.rounds() {
            rounds.push(round(settings, &stack, clients).await?);
        }
        let numbers = medians(&rounds);
        middle.push((count(clients), numbers[1]));
        late.push((count(clients), numbers[2]));
        table.row(format!("{clients} clients"), numbers.map(Cell::from));
    }
    let figure = Figure {
        file: "chain",
        title: "Time to the first token through the whole chain".into(),
        x: "clients at once".into(),
        y: "ms".into(),
        groups: None,
        series: vec![Series::new("p50", middle), Series::new("p95", late)],
    };
    Ok(Section {
        name: "chain",
        tables: vec![table],
        figures: vec![figure],
    })
}

async fn round(settings: &Settings, stack: &Stack, clients: usize) -> anyhow::Result<[f64; 7]> {
    let time = settings.pick(Duration::from_secs(3), Duration::from_millis(200));
    let before = stack.used();
    let load = closed_loop(&stack.door(), clients, time, || chat("codex-5", PROMPT)).await?;
    let load = load.all_whole()?;
    let used = stack.used().per(before, load.visits.len());
    Ok([
        load.rate(),
        load.first_token_ms(0.5),
        load.first_token_ms(0.95),
        load.whole_ms(0.95),
        used.envoy / 1000.0,
        used.sidecar / 1000.0,
        used.codex / 1000.0,
    ])
}
