//! Turns a second when the child costs nothing: the sidecar's own limit.
//! Beside it a bare loop over one child, and a child a request, which is how proxies of `codex exec` and `proto` work.

use std::time::Duration;

use tempfile::TempDir;
use tests::scripted_model::ScriptedModel;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::Settings;
use crate::client::{Door, chat, closed_loop};
use crate::codex::{Order, Pace, Pipe};
use crate::report::{Cell, Table};
use crate::stats::{count, medians, us};
use crate::usage;

/// A short answer.
const ORDER: Order = Order {
    deltas: 6,
    pause_us: 0,
};

pub(super) async fn run(settings: &Settings) -> anyhow::Result<Table> {
    let columns = [
        "bare loop, turns/s",
        "child a turn, turns/s",
        "sidecar, turns/s",
        "sidecar to child a turn",
        "sidecar's CPU, µs a turn",
    ];
    let mut table = Table::new("Turns of 6 deltas with an instant child", &columns);
    let home = TempDir::new()?;
    let model = ScriptedModel::start().await?;
    let sidecar = settings.instant_sidecar(&model).start().await;
    let door = Door::Unix(sidecar.socket());
    let mut pipe = Pipe::start(&settings.instant_codex, &[], home.path()).await?;
    for clients in settings.pick(vec![1, 8, 32], vec![4]) {
        let mut rounds = Vec::new();
        for round in 0..settings.rounds() + 1 {
            let bare = bare_rate(settings, &mut pipe, clients).await?;
            let spawned = spawned_rate(settings, &home, clients).await?;
            let before = usage::cpu(sidecar.pid());
            let load = closed_loop(&door, clients, settings.slice(), || {
                chat("gpt-5", &ORDER.prompt())
            });
            let load = load.await?.all_whole()?;
            let cpu =
                us(usage::cpu(sidecar.pid()).saturating_sub(before)) / count(load.visits.len());
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

async fn bare_rate(settings: &Settings, pipe: &mut Pipe, clients: usize) -> anyhow::Result<f64> {
    let turns = clients * settings.pick(200, 10);
    let started = Instant::now();
    pipe.turns(&ORDER.prompt(), turns, Pace::AtOnce(clients))
        .await?;
    Ok(count(turns) / started.elapsed().as_secs_f64())
}

/// Every turn pays for its own child: start, handshake, turn, end.
async fn spawned_rate(settings: &Settings, home: &TempDir, clients: usize) -> anyhow::Result<f64> {
    let started = Instant::now();
    let time = settings.pick(Duration::from_secs(1), settings.slice());
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        let (program, home) = (settings.instant_codex.clone(), home.path().to_owned());
        tasks.spawn(async move {
            let mut turns = 0;
            while started.elapsed() < time {
                let mut pipe = Pipe::start(&program, &[], &home).await?;
                turns += pipe.turns(&ORDER.prompt(), 1, Pace::AtOnce(1)).await?.len();
            }
            anyhow::Ok(turns)
        });
    }
    let mut turns = 0;
    while let Some(done) = tasks.join_next().await {
        turns += done??;
    }
    Ok(count(turns) / started.elapsed().as_secs_f64())
}
