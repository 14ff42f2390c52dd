//! Clients that do not read their responses, beside clients that do: the delay of the latter, and the memory per slow
//! reader.
//!
//! A slow reader requests a long response without pauses, and reads only after the load of the fast readers has ended.

use std::time::Duration;

use anyhow::ensure;
use tests::http::StreamedResponse;
use tests::scripted_model::ScriptedModel;
use tokio::time::{Instant, sleep};

use crate::client::{RequestSample, Target, chat, open_loop};
use crate::codex::Workload;
use crate::report::{Cell, Table};
use crate::settings::Settings;
use crate::stats::{count, medians};
use crate::usage;

/// Processor time in [`SAMPLE_INTERVAL`] below which the sidecar counts as idle. The buffers of the slow readers are then
/// full.
const IDLE_CPU_TIME: Duration = Duration::from_millis(5);

/// Time between two samples of the processor time.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(200);

pub(super) async fn run(settings: &Settings) -> anyhow::Result<Table> {
    let columns = [
        "fast: delta p50, ms",
        "fast: delta p99, ms",
        "added memory, KiB per slow reader",
    ];
    let mut table = Table::new(
        "20 fast readers beside slow readers that read nothing",
        &columns,
    );
    for slow_readers in settings.pick(vec![0, 10, 50], vec![3]) {
        let mut rounds = Vec::new();
        for _ in 0..settings.rounds() {
            rounds.push(run_round(settings, slow_readers).await?);
        }
        let cells = medians(&rounds).map(Cell::Number);
        table.row(format!("{slow_readers} slow readers"), cells);
    }
    Ok(table)
}

async fn run_round(settings: &Settings, slow_readers: usize) -> anyhow::Result<[f64; 3]> {
    let model = ScriptedModel::start().await?;
    let sidecar = settings.instant_sidecar(&model).start().await;
    let target = Target::Unix(sidecar.socket());
    let idle_kib = usage::resident_kib(sidecar.pid());
    let mut unread: Vec<StreamedResponse> = Vec::new();
    for _ in 0..slow_readers {
        let mut client = target.connect().await?;
        unread.push(
            client
                .stream(chat("codex-5", &Workload::BURST.prompt()))
                .await?,
        );
    }
    wait_until_idle(sidecar.pid()).await;
    let added_kib = usage::resident_kib(sidecar.pid()) - idle_kib;
    // A response takes one second, so that 20 fast readers are active at a time.
    let interval = Duration::from_millis(50);
    let requests = settings.pick(80, 6);
    let request = || chat("codex-5", &Workload::STEADY.prompt());
    let load = open_loop(&target, interval, requests, request)
        .await?
        .require_complete()?;
    for stream in unread {
        let sample = RequestSample::read(stream, Instant::now()).await?;
        ensure!(
            sample.is_complete && sample.deltas == Workload::BURST.deltas as usize,
            "the response of a slow reader is incomplete: {sample:?}"
        );
    }
    Ok([
        load.delay_ms(0.5),
        load.delay_ms(0.99),
        added_kib / count(slow_readers.max(1)),
    ])
}

async fn wait_until_idle(pid: i32) {
    loop {
        let before = usage::cpu_time(pid);
        sleep(SAMPLE_INTERVAL).await;
        if usage::cpu_time(pid).saturating_sub(before) < IDLE_CPU_TIME {
            return;
        }
    }
}
