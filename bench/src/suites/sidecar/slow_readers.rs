//! Readers that do not read, beside those that do: whom do they slow, and what do they cost?
//! The slow ones ask for much, all at once, and read none of it until the quick ones are done; then they get it all.

use std::time::Duration;

use anyhow::ensure;
use tests::http::Stream;
use tests::scripted_model::ScriptedModel;
use tokio::time::{Instant, sleep};

use crate::Settings;
use crate::client::{Door, Visit, chat, open_loop};
use crate::codex::Order;
use crate::report::{Cell, Table};
use crate::stats::{count, medians};
use crate::usage;

/// What a slow reader asks for: far more than sockets and channels hold.
const MUCH: Order = Order {
    deltas: 20_000,
    pause_us: 0,
};

/// The sidecar is at rest when it uses less than this in [`LOOK`]: it has taken in what the slow readers leave unread.
const AT_REST: Duration = Duration::from_millis(5);

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(200);

/// What a quick one asks for.
const QUICK: Order = Order {
    deltas: 50,
    pause_us: 20_000,
};

pub(super) async fn run(settings: &Settings) -> anyhow::Result<Table> {
    let columns = [
        "quick: delta p50, ms",
        "quick: delta p99, ms",
        "memory added, KiB a slow reader",
    ];
    let mut table = Table::new(
        "20 quick readers beside slow ones that read nothing",
        &columns,
    );
    for slow in settings.pick(vec![0, 10, 50], vec![3]) {
        let mut rounds = Vec::new();
        for _ in 0..settings.rounds() {
            rounds.push(round(settings, slow).await?);
        }
        let cells = medians(&rounds).map(Cell::Number);
        table.row(format!("{slow} slow readers"), cells);
    }
    Ok(table)
}

async fn round(settings: &Settings, slow: usize) -> anyhow::Result<[f64; 3]> {
    let model = ScriptedModel::start().await?;
    let sidecar = settings.instant_sidecar(&model).start().await;
    let door = Door::Unix(sidecar.socket());
    let idle = usage::resident_kib(sidecar.pid());
    let mut unread: Vec<Stream> = Vec::new();
    for _ in 0..slow {
        let mut client = door.open().await?;
        unread.push(client.stream(chat("gpt-5", &MUCH.prompt())).await?);
    }
    rest(sidecar.pid()).await;
    let added = usage::resident_kib(sidecar.pid()) - idle;
    let every = Duration::from_millis(50);
    let requests = settings.pick(80, 6);
    let load = open_loop(&door, every, requests, || chat("gpt-5", &QUICK.prompt()));
    let load = load.await?.all_whole()?;
    for stream in unread {
        let read = Visit::read(stream, Instant::now()).await?;
        ensure!(
            read.is_whole && read.deltas == MUCH.deltas as usize,
            "a slow reader is cut short: {read:?}"
        );
    }
    Ok([
        load.delay_ms(0.5),
        load.delay_ms(0.99),
        added / count(slow.max(1)),
    ])
}

/// Waits until the sidecar has nothing to do.
async fn rest(pid: i32) {
    loop {
        let before = usage::cpu(pid);
        sleep(LOOK).await;
        if usage::cpu(pid).saturating_sub(before) < AT_REST {
            return;
        }
    }
}
