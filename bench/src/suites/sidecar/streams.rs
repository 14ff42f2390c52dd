//! Many open streams: each must end normally without starvation, and each costs memory and processor time.
//!
//! The processor time of a stream includes its connection, its turn and all its deltas. Every number of streams gets a
//! new sidecar, so that the memory of a smaller number does not count.

use std::time::Duration;

use anyhow::ensure;
use tests::scripted_model::ScriptedModel;
use tokio::time::sleep;

use crate::client::{Load, Target, chat, open_loop};
use crate::codex::Workload;
use crate::plot::{Figure, Series};
use crate::report::{Cell, Table};
use crate::settings::Settings;
use crate::stats::{count, ms, quantile, us};
use crate::usage;

/// Time between two samples of the sidecar's memory.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(100);

/// Result for one number of streams.
struct StreamsResult {
    load: Load,
    idle_kib: f64,
    peak_kib: f64,
    cpu_time: Duration,
}

pub(super) async fn run(settings: &Settings) -> anyhow::Result<(Table, Figure)> {
    let columns = [
        "complete",
        "first token p50, ms",
        "first token p99, ms",
        "delta p50, ms",
        "delta p99, ms",
        "longest gap, ms",
        "idle, MiB",
        "KiB per stream",
        "CPU, µs per stream",
    ];
    let workload = settings.pick(
        Workload {
            deltas: 12,
            pause_us: 1_000_000,
        },
        Workload {
            deltas: 4,
            pause_us: 200_000,
        },
    );
    let pause_ms = workload.pause_us / 1000;
    let mut table = Table::new(
        format!("Concurrent streams, one delta every {pause_ms} ms"),
        &columns,
    );
    let (mut p50, mut p99) = (Vec::new(), Vec::new());
    for streams in settings.pick(vec![200, 1000, 5000], vec![50]) {
        let result = measure(settings, streams, workload).await?;
        p50.push((count(streams), result.load.delay_ms(0.5)));
        p99.push((count(streams), result.load.delay_ms(0.99)));
        table.row(
            format!("{streams} streams"),
            result.numbers(streams).map(Cell::from),
        );
    }
    let figure = Figure {
        file: "sidecar-streams",
        title: "Delay of a delta between the child and the client".into(),
        x: "concurrent streams".into(),
        y: "ms".into(),
        groups: None,
        series: vec![Series::new("p50", p50), Series::new("p99", p99)],
    };
    Ok((table, figure))
}

impl StreamsResult {
    /// Returns one number per column of the table.
    fn numbers(&self, streams: usize) -> [f64; 9] {
        let gaps: Vec<f64> = self
            .load
            .samples
            .iter()
            .map(|sample| ms(sample.longest_gap))
            .collect();
        [
            count(self.load.samples.len()),
            self.load.first_token_ms(0.5),
            self.load.first_token_ms(0.99),
            self.load.delay_ms(0.5),
            self.load.delay_ms(0.99),
            quantile(&gaps, 1.0),
            self.idle_kib / 1024.0,
            (self.peak_kib - self.idle_kib) / count(streams),
            us(self.cpu_time) / count(streams),
        ]
    }
}

/// Starts all streams within three seconds, after which all are open, and reads each to its end.
async fn measure(
    settings: &Settings,
    streams: usize,
    workload: Workload,
) -> anyhow::Result<StreamsResult> {
    let model = ScriptedModel::start().await?;
    let sidecar = settings.instant_sidecar(&model).start().await;
    let target = Target::Unix(sidecar.socket());
    let (pid, mut peak_kib) = (sidecar.pid(), 0.0);
    let idle_kib = usage::resident_kib(pid);
    let before = usage::cpu_time(pid);
    let ramp = settings.pick(Duration::from_secs(3), Duration::from_millis(400));
    let interval = ramp / u32::try_from(streams)?;
    let running = open_loop(&target, interval, streams, move || {
        chat("codex-5", &workload.prompt())
    });
    tokio::pin!(running);
    let load = loop {
        tokio::select! {
            // Polled by reference: the load must survive each sample of the memory.
            load = &mut running => break load?.require_complete()?,
            () = sleep(SAMPLE_INTERVAL) => peak_kib = f64::max(peak_kib, usage::resident_kib(pid)),
        }
    };
    let is_complete = load
        .samples
        .iter()
        .all(|sample| sample.deltas == workload.deltas as usize);
    ensure!(is_complete, "a stream lost a delta");
    Ok(StreamsResult {
        load,
        idle_kib,
        peak_kib,
        cpu_time: usage::cpu_time(pid).saturating_sub(before),
    })
}
