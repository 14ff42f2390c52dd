//! Turns per second with a child that responds immediately, which is the capacity of the sidecar itself.
//!
//! The alternatives are a bare loop over one child, and a child per request as in proxies on `codex exec` or `proto`.

use std::time::Duration;

use tempfile::TempDir;
use tests::scripted_model::ScriptedModel;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::{Target, chat, closed_loop};
use crate::codex::{BareLoop, Pacing, Workload};
use crate::report::{Cell, Table};
use crate::settings::Settings;
use crate::stats::{count, medians, us};
use crate::usage;

/// A short response.
const SHORT_RESPONSE: Workload = Workload {
    deltas: 6,
    pause_us: 0,
};

pub(super) async fn run(settings: &Settings) -> anyhow::Result<Table> {
    let columns = [
        "bare loop, turns/s",
        "child per turn, turns/s",
        "sidecar, turns/s",
        "sidecar relative to child per turn",
        "sidecar CPU, µs per turn",
    ];
    let mut table = Table::new("Turns of 6 deltas with an instant child", &columns);
    let home = TempDir::new()?;
    let model = ScriptedModel::start().await?;
    let sidecar = settings.instant_sidecar(&model).start().await;
    let target = Target::Unix(sidecar.socket());
    let mut bare_loop = BareLoop::start(&settings.instant_codex, &[], home.path()).await?;
    for clients in settings.pick(vec![1, 8, 32], vec![4]) {
        let mut rounds = Vec::new();
        for round in 0..settings.rounds() + 1 {
            let bare = bare_loop_rate(settings, &mut bare_loop, clients).await?;
            let spawned = child_per_turn_rate(settings, &home, clients).await?;
            let request = || chat("codex-5", &SHORT_RESPONSE.prompt());
            let running = closed_loop(&target, clients, settings.slice(), request);
            let (load, cpu_time) = usage::cpu_time_during(sidecar.pid(), running).await;
            let load = load?.require_complete()?;
            let cpu = us(cpu_time) / count(load.samples.len());
            // The first round warms up.
            if round > 0 {
                rounds.push([bare, spawned, load.rate(), load.rate() / spawned, cpu]);
            }
        }
        let cells = medians(&rounds).map(Cell::Number);
        table.row(format!("{clients} clients"), cells);
    }
    Ok(table)
}

async fn bare_loop_rate(
    settings: &Settings,
    bare_loop: &mut BareLoop,
    clients: usize,
) -> anyhow::Result<f64> {
    let turns = clients * settings.pick(200, 10);
    let started = Instant::now();
    bare_loop
        .turns(&SHORT_RESPONSE.prompt(), turns, Pacing::Concurrent(clients))
        .await?;
    Ok(count(turns) / started.elapsed().as_secs_f64())
}

/// Measures clients that start a child for every turn: start, handshake, turn, exit.
async fn child_per_turn_rate(
    settings: &Settings,
    home: &TempDir,
    clients: usize,
) -> anyhow::Result<f64> {
    let started = Instant::now();
    let time = settings.pick(Duration::from_secs(1), settings.slice());
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        let (program, home) = (settings.instant_codex.clone(), home.path().to_owned());
        tasks.spawn(async move {
            let mut turns = 0;
            while started.elapsed() < time {
                let mut child = BareLoop::start(&program, &[], &home).await?;
                turns += child
                    .turns(&SHORT_RESPONSE.prompt(), 1, Pacing::Concurrent(1))
                    .await?
                    .len();
            }
            anyhow::Ok(turns)
        });
    }
    let mut turns = 0;
    while let Some(result) = tasks.join_next().await {
        turns += result??;
    }
    Ok(count(turns) / started.elapsed().as_secs_f64())
}
