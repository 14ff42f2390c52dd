//! The cost of the export over OTLP: a sidecar without it, and a sidecar that sends a span for each request and each turn,
//! and the metrics, to a collector.
//!
//! Both sidecars run during the whole suite, and one of them at a time has load. A round measures both, in alternating
//! order. The collector is that of the tests; it decodes each export in the process of the load generator.

use std::time::Duration;

use anyhow::ensure;
use tests::collector::{Collector, CollectorBehavior, Received};
use tests::scripted_model::ScriptedModel;
use tests::sidecar::Sidecar;

use crate::client::{Load, Target, chat, open_loop};
use crate::codex::Workload;
use crate::report::{Cell, Section, Table};
use crate::settings::Settings;
use crate::stats::{count, medians, us};
use crate::usage;

/// A response of one second, as of a fast model.
const STEADY: Workload = Workload {
    deltas: 50,
    pause_us: 20_000,
};

/// A long response without pauses.
const BURST: Workload = Workload {
    deltas: 20_000,
    pause_us: 0,
};

/// A short response, of which the spans are a large share.
const SHORT: Workload = Workload {
    deltas: 6,
    pause_us: 0,
};

/// Turns per second with [`STEADY`], and so the number of open streams.
const STREAMS: u32 = 200;

/// Turns per second with [`SHORT`]: two spans each, which a collector in the process of the load generator decodes.
const TURNS: u32 = 500;

/// Shorter than the default of a minute, so that each measurement has an export of metrics. Spans have the defaults.
const METRICS_INTERVAL_MS: &str = "2000";

pub(super) async fn run(settings: &Settings) -> anyhow::Result<Section> {
    let pair = Pair::start(settings).await?;
    let steady = Table::new(
        format!("{STREAMS} open streams, 50 deltas/s each"),
        &[
            "first token p50, ms",
            "first token p99, ms",
            "CPU per delta, µs",
        ],
    );
    let burst = Table::new(
        format!("One response of {} deltas without pauses", BURST.deltas),
        &["CPU per delta, µs"],
    );
    let short = Table::new(
        format!("{TURNS} turns/s of {} deltas", SHORT.deltas),
        &["first token p50, ms", "CPU per turn, µs"],
    );
    let tables = vec![
        compare(steady, settings, &pair, async |sidecar| {
            let turns = settings.pick(1200, 20);
            let (load, cpu) = measure(sidecar, STEADY, turns, STREAMS).await?;
            let tokens = [load.first_token_ms(0.5), load.first_token_ms(0.99)];
            Ok([tokens[0], tokens[1], cpu / count(load.deltas())])
        })
        .await?,
        compare(burst, settings, &pair, async |sidecar| {
            let turns = settings.pick(10, 1);
            let (load, cpu) = measure(sidecar, BURST, turns, 10).await?;
            Ok([cpu / count(load.deltas())])
        })
        .await?,
        compare(short, settings, &pair, async |sidecar| {
            let turns = settings.pick(2000, 20);
            let (load, cpu) = measure(sidecar, SHORT, turns, TURNS).await?;
            Ok([load.first_token_ms(0.5), cpu / count(turns)])
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

/// Adds the medians of both sidecars to `table`, and the median over the rounds of the ratio between them.
async fn compare<const N: usize>(
    mut table: Table,
    settings: &Settings,
    pair: &Pair,
    measure: impl AsyncFn(&Sidecar) -> anyhow::Result<[f64; N]>,
) -> anyhow::Result<Table> {
    let (mut off_rounds, mut on_rounds, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=settings.rounds() {
        let (off, on) = if round % 2 == 0 {
            let off = measure(&pair.off).await?;
            (off, measure(&pair.on).await?)
        } else {
            let on = measure(&pair.on).await?;
            (measure(&pair.off).await?, on)
        };
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

/// Starts `turns` turns, `rate` per second, and returns their load and the sidecar's processor time in microseconds.
async fn measure(
    sidecar: &Sidecar,
    workload: Workload,
    turns: usize,
    rate: u32,
) -> anyhow::Result<(Load, f64)> {
    let target = Target::Unix(sidecar.socket());
    let before = usage::cpu_time(sidecar.pid());
    let interval = Duration::from_secs(1) / rate;
    let request = move || chat("codex-5", &workload.prompt());
    let load = open_loop(&target, interval, turns, request)
        .await?
        .require_complete()?;
    let cpu_time = usage::cpu_time(sidecar.pid()).saturating_sub(before);
    Ok((load, us(cpu_time)))
}
