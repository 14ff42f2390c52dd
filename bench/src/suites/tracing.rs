//! The cost of the export over OTLP: a sidecar without it, and a sidecar that sends a span for each request and each turn,
//! and the metrics, to a collector.
//!
//! Both sidecars have the same load at the same time, and their requests alternate, so that a disturbance of the machine
//! meets both. The collector is that of the tests; it decodes each export in the process of the load generator.

use std::time::Duration;

use anyhow::ensure;
use tests::collector::{Collector, CollectorBehavior, Received};
use tests::scripted_model::ScriptedModel;
use tests::sidecar::Sidecar;
use tokio::time::sleep;
use tokio::try_join;

use crate::client::{Load, Target, chat, open_loop};
use crate::codex::Workload;
use crate::report::{Cell, Section, Table};
use crate::settings::Settings;
use crate::stats::{count, medians, us};
use crate::usage;

/// A short response, of which the spans are a large share.
const SHORT: Workload = Workload {
    deltas: 6,
    pause_us: 0,
};

/// Turns per second and sidecar with [`Workload::STEADY`], and so the number of open streams.
const STREAMS: u32 = 100;

/// Turns per second and sidecar with [`SHORT`].
const TURNS: u32 = 250;

/// Turns per second and sidecar with [`Workload::BURST`].
const BURSTS: u32 = 5;

/// Shorter than the default of a minute, so that each measurement has an export of metrics. Spans have the defaults.
const METRICS_INTERVAL_MS: &str = "2000";

pub(super) async fn run(settings: &Settings) -> anyhow::Result<Section> {
    let pair = Pair::start(settings).await?;
    let steady = Table::new(
        format!("{STREAMS} open streams on each sidecar, 50 deltas/s each"),
        &[
            "first token p50, ms",
            "first token p99, ms",
            "CPU per delta, µs",
        ],
    );
    let burst = Table::new(
        format!(
            "Responses of {} deltas without pauses",
            Workload::BURST.deltas
        ),
        &["CPU per delta, µs"],
    );
    let short = Table::new(
        format!("{TURNS} turns/s of {} deltas on each sidecar", SHORT.deltas),
        &["first token p50, ms", "CPU per turn, µs"],
    );
    let steady_load = RoundLoad::new(Workload::STEADY, STREAMS, settings.pick(600, 20));
    let burst_load = RoundLoad::new(Workload::BURST, BURSTS, settings.pick(5, 1));
    let short_load = RoundLoad::new(SHORT, TURNS, settings.pick(1000, 20));
    let tables = vec![
        compare(steady, settings, &pair, steady_load, |load, cpu| {
            let (p50, p99) = (load.first_token_ms(0.5), load.first_token_ms(0.99));
            [p50, p99, cpu / count(load.deltas())]
        })
        .await?,
        compare(burst, settings, &pair, burst_load, |load, cpu| {
            [cpu / count(load.deltas())]
        })
        .await?,
        compare(short, settings, &pair, short_load, |load, cpu| {
            [load.first_token_ms(0.5), cpu / count(load.samples.len())]
        })
        .await?,
    ];
    pair.check_exports().await?;
    Ok(Section {
        name: "tracing",
        tables,
        figures: Vec::new(),
    })
}

/// The load of one sidecar in a round.
#[derive(Clone, Copy)]
struct RoundLoad {
    workload: Workload,
    turns: usize,
    /// Time between the starts of two turns.
    interval: Duration,
}

impl RoundLoad {
    fn new(workload: Workload, rate: u32, turns: usize) -> Self {
        Self {
            workload,
            turns,
            interval: Duration::from_secs(1) / rate,
        }
    }
}

/// A sidecar without the export, and a sidecar with it.
struct Pair {
    off: Sidecar,
    on: Sidecar,
    collector: Collector,
    _models: [ScriptedModel; 2],
}

impl Pair {
    async fn start(settings: &Settings) -> anyhow::Result<Self> {
        let collector = Collector::start(CollectorBehavior::Accept).await;
        let models = [ScriptedModel::start().await?, ScriptedModel::start().await?];
        let off = settings.instant_sidecar(&models[0]).start().await;
        let on = settings
            .instant_sidecar(&models[1])
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint())
            .env("OTEL_TRACES_SAMPLER", "always_on")
            .env("OTEL_METRIC_EXPORT_INTERVAL", METRICS_INTERVAL_MS)
            .start()
            .await;
        Ok(Self {
            off,
            on,
            collector,
            _models: models,
        })
    }

    /// Fails if a turn that the metrics count has no spans: the export would look cheaper than it is.
    async fn check_exports(&self) -> anyhow::Result<()> {
        let received = self.collector.wait_until(is_complete).await;
        let sampled = received.spans.len() / 2;
        ensure!(sampled > 0, "the collector has no spans");
        Ok(())
    }
}

/// Whether the collector has both spans of each turn that its metrics count.
fn is_complete(received: &Received) -> bool {
    let Some(points) = received.metrics.get("gen_ai.client.operation.duration") else {
        return false;
    };
    let turns: u64 = points.iter().map(|point| point.count).sum();
    received.spans.len() as u64 == turns * 2
}

/// Adds the medians of both sidecars to `table`, and the median over the rounds of the ratio between them. `row` makes the
/// columns of a load and the sidecar's processor time in microseconds.
async fn compare<const N: usize>(
    mut table: Table,
    settings: &Settings,
    pair: &Pair,
    round_load: RoundLoad,
    row: impl Fn(&Load, f64) -> [f64; N],
) -> anyhow::Result<Table> {
    let (mut off_rounds, mut on_rounds, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=settings.rounds() {
        // In turn first, since the second one starts half an interval later.
        let [(off, off_cpu), (on, on_cpu)] = if round % 2 == 0 {
            measure_both(&pair.off, &pair.on, round_load).await?
        } else {
            let [on, off] = measure_both(&pair.on, &pair.off, round_load).await?;
            [off, on]
        };
        let (off, on) = (row(&off, off_cpu), row(&on, on_cpu));
        // The first round warms up.
        if round > 0 {
            ratios.push(std::array::from_fn(|at| on[at] / off[at]));
            off_rounds.push(off);
            on_rounds.push(on);
        }
    }
    for (name, rounds) in [
        ("export off", &off_rounds),
        ("export on", &on_rounds),
        ("on relative to off", &ratios),
    ] {
        table.row(name, medians(rounds).map(Cell::from));
    }
    Ok(table)
}

/// Applies the load to two sidecars at the same time.
async fn measure_both(
    first: &Sidecar,
    second: &Sidecar,
    round_load: RoundLoad,
) -> anyhow::Result<[(Load, f64); 2]> {
    let later = async {
        sleep(round_load.interval / 2).await;
        measure(second, round_load).await
    };
    let (first, second) = try_join!(measure(first, round_load), later)?;
    Ok([first, second])
}

/// Returns the load of one sidecar, and the sidecar's processor time in microseconds.
async fn measure(sidecar: &Sidecar, round_load: RoundLoad) -> anyhow::Result<(Load, f64)> {
    let target = Target::Unix(sidecar.socket());
    let request = move || chat("codex-5", &round_load.workload.prompt());
    let running = open_loop(&target, round_load.interval, round_load.turns, request);
    let (load, cpu_time) = usage::cpu_time_during(sidecar.pid(), running).await;
    Ok((load?.require_complete()?, us(cpu_time)))
}
