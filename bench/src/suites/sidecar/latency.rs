//! The time that the sidecar adds to the first token and to each delta, and the processor time of a delta.
//!
//! Turns start at regular intervals, so that the number of open streams is constant and no burst of starts is measured.

use std::time::Duration;

use tempfile::TempDir;
use tests::scripted_model::ScriptedModel;

use crate::client::{Load, Target, chat, open_loop};
use crate::codex::{BareLoop, Pacing, Workload};
use crate::report::{Cell, Table};
use crate::settings::Settings;
use crate::stats::{count, median, medians, us};
use crate::usage;

/// Time between two deltas of a stream, as of a fast model.
const PAUSE: Duration = Duration::from_millis(20);

/// Deltas of a long response without pauses.
const BURST_DELTAS: u32 = 20_000;

/// One number per column of the table: p50 and p99 of first token and delta in milliseconds, and processor time per
/// delta in microseconds.
type LatencyRow = [f64; 5];

pub(super) async fn run(settings: &Settings) -> anyhow::Result<Vec<Table>> {
    let columns = [
        "first token p50, ms",
        "first token p99, ms",
        "delta p50, ms",
        "delta p99, ms",
        "CPU per delta, µs",
    ];
    let mut tables = Vec::new();
    for streams in settings.pick(vec![1, 200], vec![20]) {
        let mut table = Table::new(
            format!("Open streams: {streams}, 50 deltas/s each"),
            &columns,
        );
        let (mut bare_rounds, mut sidecar_rounds) = (Vec::new(), Vec::new());
        for _ in 0..settings.rounds() {
            bare_rounds.push(measure_bare_loop(settings, streams).await?);
            sidecar_rounds.push(measure_sidecar(settings, streams).await?);
        }
        let (bare, sidecar) = (medians(&bare_rounds), medians(&sidecar_rounds));
        table.row("bare loop over the pipe", bare.map(Cell::from));
        table.row("sidecar", sidecar.map(Cell::from));
        // Without the processor time: that of the bare loop includes the client.
        let added = [0, 1, 2, 3].map(|at| Cell::Number(sidecar[at] - bare[at]));
        table.row("added", added.into_iter().chain([Cell::Empty]));
        tables.push(table);
    }
    tables.push(measure_burst(settings).await?);
    Ok(tables)
}

/// Turns of a round, chosen for a constant number of open streams.
struct Schedule {
    workload: Workload,
    turns: usize,
    /// Time between the starts of two turns.
    interval: Duration,
}

impl Schedule {
    fn new(settings: &Settings, streams: usize) -> Self {
        let (deltas, turns) = match streams {
            1 => (50, 10),
            _ => (150, streams * 3),
        };
        let deltas = settings.pick(deltas, 10);
        Self {
            workload: Workload {
                deltas,
                pause_us: u64::try_from(PAUSE.as_micros()).unwrap_or(u64::MAX),
            },
            turns,
            interval: (PAUSE * deltas) / u32::try_from(streams).unwrap_or(u32::MAX),
        }
    }
}

async fn measure_bare_loop(settings: &Settings, streams: usize) -> anyhow::Result<LatencyRow> {
    let Schedule {
        workload,
        turns,
        interval,
    } = Schedule::new(settings, streams);
    let home = TempDir::new()?;
    let mut bare_loop = BareLoop::start(&settings.instant_codex, &[], home.path()).await?;
    let own_cpu_time = || usage::cpu_time(nix::unistd::getpid().as_raw());
    let before = own_cpu_time();
    let samples = bare_loop
        .turns(&workload.prompt(), turns, Pacing::Interval(interval))
        .await?;
    let load = Load {
        samples,
        elapsed: interval * u32::try_from(turns)?,
    };
    let cpu = us(own_cpu_time().saturating_sub(before)) / count(load.deltas());
    Ok(latency_row(&load, cpu))
}

async fn measure_sidecar(settings: &Settings, streams: usize) -> anyhow::Result<LatencyRow> {
    let Schedule {
        workload,
        turns,
        interval,
    } = Schedule::new(settings, streams);
    let model = ScriptedModel::start().await?;
    let sidecar = settings.instant_sidecar(&model).start().await;
    let target = Target::Unix(sidecar.socket());
    let request = move || chat("codex-5", &workload.prompt());
    let running = open_loop(&target, interval, turns, request);
    let (load, cpu_time) = usage::cpu_time_during(sidecar.pid(), running).await;
    let load = load?.require_complete()?;
    Ok(latency_row(&load, us(cpu_time) / count(load.deltas())))
}

fn latency_row(load: &Load, cpu: f64) -> LatencyRow {
    [
        load.first_token_ms(0.5),
        load.first_token_ms(0.99),
        load.delay_ms(0.5),
        load.delay_ms(0.99),
        cpu,
    ]
}

/// Measures one long response without pauses: the cost of a delta when the sidecar does not wait between deltas.
async fn measure_burst(settings: &Settings) -> anyhow::Result<Table> {
    let workload = Workload {
        deltas: settings.pick(BURST_DELTAS, 500),
        pause_us: 0,
    };
    let model = ScriptedModel::start().await?;
    let sidecar = settings.instant_sidecar(&model).start().await;
    let target = Target::Unix(sidecar.socket());
    let (mut rates, mut costs) = (Vec::new(), Vec::new());
    for _ in 0..settings.rounds() + 1 {
        let request = move || chat("codex-5", &workload.prompt());
        let running = open_loop(&target, Duration::from_secs(1), 1, request);
        let (load, cpu_time) = usage::cpu_time_during(sidecar.pid(), running).await;
        let load = load?.require_complete()?;
        let deltas = count(load.deltas());
        rates.push(deltas / load.elapsed.as_secs_f64());
        costs.push(us(cpu_time) / deltas);
    }
    let mut table = Table::new(
        format!("One response of {} deltas without pauses", workload.deltas),
        &["deltas/s", "CPU per delta, µs"],
    );
    table.row("sidecar", [median(&rates), median(&costs)].map(Cell::from));
    Ok(table)
}
