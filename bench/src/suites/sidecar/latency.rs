//! The time that the sidecar adds to a first token and to each delta, and what a delta costs it.
//! Turns begin at a steady pace, so that so many streams are open at any time and no herd is measured.

use std::time::Duration;

use tempfile::TempDir;
use tests::scripted_model::ScriptedModel;

use crate::Settings;
use crate::client::{Door, Load, chat, open_loop};
use crate::codex::{Order, Pace, Pipe};
use crate::report::{Cell, Table};
use crate::stats::{count, median, medians, us};
use crate::usage;

/// Time between two deltas of a stream: a quick model's.
const PAUSE: Duration = Duration::from_millis(20);

/// Deltas of one long answer, all at once.
const BURST: u32 = 20_000;

/// What one round has shown of one way: first token and delta, p50 and p99 each in milliseconds, and microseconds of
/// processor time a delta.
type Round = [f64; 5];

pub(super) async fn run(settings: &Settings) -> anyhow::Result<Vec<Table>> {
    let columns = [
        "first token p50, ms",
        "first token p99, ms",
        "delta p50, ms",
        "delta p99, ms",
        "CPU a delta, µs",
    ];
    let mut tables = Vec::new();
    for streams in settings.pick(vec![1, 200], vec![20]) {
        let mut table = Table::new(
            format!("Streams open: {streams}, 50 deltas a second each"),
            &columns,
        );
        let (mut bare, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..settings.rounds() {
            bare.push(bare_round(settings, streams).await?);
            ours.push(sidecar_round(settings, streams).await?);
        }
        let (bare, ours) = (medians(&bare), medians(&ours));
        table.row("bare loop over the pipe", bare.map(Cell::from));
        table.row("sidecar", ours.map(Cell::from));
        let mut added = [0, 1, 2, 3]
            .map(|at| Cell::Number(ours[at] - bare[at]))
            .to_vec();
        added.push(Cell::Empty);
        table.row("added", added);
        tables.push(table);
    }
    tables.push(burst(settings).await?);
    Ok(tables)
}

/// How many turns are played, and at which pace, so that `streams` are open.
fn plan(settings: &Settings, streams: usize) -> (Order, usize, Duration) {
    let (deltas, turns) = match streams {
        1 => (50, 10),
        _ => (150, streams * 3),
    };
    let deltas = settings.pick(deltas, 10);
    let order = Order {
        deltas,
        pause_us: u64::try_from(PAUSE.as_micros()).unwrap_or(u64::MAX),
    };
    let every = (PAUSE * deltas) / u32::try_from(streams).unwrap_or(u32::MAX);
    (order, turns, every)
}

async fn bare_round(settings: &Settings, streams: usize) -> anyhow::Result<Round> {
    let (order, turns, every) = plan(settings, streams);
    let home = TempDir::new()?;
    let mut pipe = Pipe::start(&settings.instant_codex, &[], home.path()).await?;
    let pace = Pace::Every(every);
    let own = || usage::cpu(nix::unistd::getpid().as_raw());
    let before = own();
    let visits = pipe.turns(&order.prompt(), turns, pace).await?;
    let load = Load {
        visits,
        elapsed: every * u32::try_from(turns)?,
    };
    let cpu = us(own().saturating_sub(before)) / count(load.deltas());
    Ok(numbers(&load, cpu))
}

async fn sidecar_round(settings: &Settings, streams: usize) -> anyhow::Result<Round> {
    let (order, turns, every) = plan(settings, streams);
    let model = ScriptedModel::start().await?;
    let sidecar = settings.instant_sidecar(&model).start().await;
    let door = Door::Unix(sidecar.socket());
    let before = usage::cpu(sidecar.pid());
    let load = open_loop(&door, every, turns, || chat("gpt-5", &order.prompt()))
        .await?
        .all_whole()?;
    let cpu = us(usage::cpu(sidecar.pid()).saturating_sub(before)) / count(load.deltas());
    Ok(numbers(&load, cpu))
}

fn numbers(load: &Load, cpu: f64) -> Round {
    [
        load.first_token_ms(0.5),
        load.first_token_ms(0.99),
        load.delay_ms(0.5),
        load.delay_ms(0.99),
        cpu,
    ]
}

/// One long answer as fast as it goes: what a delta costs when there is nothing to wait for.
async fn burst(settings: &Settings) -> anyhow::Result<Table> {
    let order = Order {
        deltas: settings.pick(BURST, 500),
        pause_us: 0,
    };
    let model = ScriptedModel::start().await?;
    let sidecar = settings.instant_sidecar(&model).start().await;
    let door = Door::Unix(sidecar.socket());
    let (mut rates, mut costs) = (Vec::new(), Vec::new());
    for _ in 0..settings.rounds() + 1 {
        let before = usage::cpu(sidecar.pid());
        let request = || chat("gpt-5", &order.prompt());
        let load = open_loop(&door, Duration::from_secs(1), 1, request);
        let load = load.await?.all_whole()?;
        let deltas = count(load.deltas());
        rates.push(deltas / load.elapsed.as_secs_f64());
        costs.push(us(usage::cpu(sidecar.pid()).saturating_sub(before)) / deltas);
    }
    let mut table = Table::new(
        format!("One answer of {} deltas, all at once", order.deltas),
        &["deltas/s", "CPU a delta, µs"],
    );
    table.row("sidecar", [median(&rates), median(&costs)].map(Cell::from));
    Ok(table)
}
