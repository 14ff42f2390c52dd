//! Many streams open at once: each must end well, none may starve, and memory is counted for each.
//! What a stream costs of the processor has its connection, its turn and all its deltas in it.
//! A fresh sidecar for every number, so that nothing is left over from a smaller one.

use std::time::Duration;

use anyhow::ensure;
use tests::scripted_model::ScriptedModel;
use tokio::time::sleep;

use crate::Settings;
use crate::client::{Door, Load, chat, open_loop};
use crate::codex::Order;
use crate::report::{Cell, Figure, Series, Table};
use crate::stats::{count, ms, quantile, us};
use crate::usage;

/// Time between two looks at memory.
const LOOK: Duration = Duration::from_millis(100);

/// What one number of streams has shown.
struct Seen {
    load: Load,
    idle_kib: f64,
    peak_kib: f64,
    cpu: Duration,
}

pub(super) async fn run(settings: &Settings) -> anyhow::Result<(Table, Figure)> {
    let columns = [
        "ended well",
        "first token p50, ms",
        "first token p99, ms",
        "delta p50, ms",
        "delta p99, ms",
        "longest silence, ms",
        "idle, MiB",
        "KiB a stream",
        "CPU, µs a stream",
    ];
    let order = settings.pick(
        Order {
            deltas: 12,
            pause_us: 1_000_000,
        },
        Order {
            deltas: 4,
            pause_us: 200_000,
        },
    );
    let title = format!("Streams at once, a delta each {} ms", order.pause_us / 1000);
    let mut table = Table::new(title, &columns);
    let (mut middle, mut late) = (Vec::new(), Vec::new());
    for streams in settings.pick(vec![200, 1000, 5000], vec![50]) {
        let seen = open(settings, streams, order).await?;
        let silences = seen
            .load
            .visits
            .iter()
            .map(|visit| ms(visit.longest_silence));
        let silences: Vec<f64> = silences.collect();
        middle.push((count(streams), seen.load.delay_ms(0.5)));
        late.push((count(streams), seen.load.delay_ms(0.99)));
        let cells = [
            count(seen.load.visits.len()),
            seen.load.first_token_ms(0.5),
            seen.load.first_token_ms(0.99),
            seen.load.delay_ms(0.5),
            seen.load.delay_ms(0.99),
            quantile(&silences, 1.0),
            seen.idle_kib / 1024.0,
            (seen.peak_kib - seen.idle_kib) / count(streams),
            us(seen.cpu) / count(streams),
        ];
        table.row(format!("{streams} streams"), cells.map(Cell::from));
    }
    let figure = Figure {
        file: "sidecar-streams",
        title: "A delta's way from the child's write to the client".into(),
        x: "streams open at once".into(),
        y: "ms".into(),
        groups: None,
        series: vec![Series::new("p50", middle), Series::new("p99", late)],
    };
    Ok((table, figure))
}

/// Opens so many streams within three seconds, which then are all open, and reads each to its end.
async fn open(settings: &Settings, streams: usize, order: Order) -> anyhow::Result<Seen> {
    let model = ScriptedModel::start().await?;
    let sidecar = settings.instant_sidecar(&model).start().await;
    let door = Door::Unix(sidecar.socket());
    let (pid, mut peak_kib) = (sidecar.pid(), 0.0);
    let idle_kib = usage::resident_kib(pid);
    let before = usage::cpu(pid);
    let ramp = settings.pick(Duration::from_secs(3), Duration::from_millis(400));
    let every = ramp / u32::try_from(streams)?;
    let load = open_loop(&door, every, streams, || chat("gpt-5", &order.prompt()));
    tokio::pin!(load);
    let load = loop {
        tokio::select! {
            load = &mut load => break load?.all_whole()?,
            () = sleep(LOOK) => peak_kib = f64::max(peak_kib, usage::resident_kib(pid)),
        }
    };
    let whole = load
        .visits
        .iter()
        .all(|visit| visit.deltas == order.deltas as usize);
    ensure!(whole, "a stream has lost a delta");
    let cpu = usage::cpu(pid).saturating_sub(before);
    Ok(Seen {
        load,
        idle_kib,
        peak_kib,
        cpu,
    })
}
