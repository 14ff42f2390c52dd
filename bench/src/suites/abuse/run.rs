//! The measurement of each attack.

use std::fs;
use std::time::Duration;

use serde_json::json;
use tests::scripted_model::ScriptedModel;
use tokio::time::sleep;

use super::attack::{ATTACKER, Attack};
use super::memory::{Memory, PeakSampler, Processes};
use crate::client::{KEY, Load, Target, chat, closed_loop};
use crate::codex::Workload;
use crate::report::{Cell, Section, Table};
use crate::settings::Settings;
use crate::stats::count;
use crate::suites::real_codex::{PROMPT, start_model};
use crate::suites::stack::Stack;

/// Permits of the sidecar: the default.
const PERMITS: &str = "4";

/// A small chat of the other client, with the instant child.
const SMALL_TURN: Workload = Workload {
    deltas: 5,
    pause_us: 0,
};

/// Size of the usage log that `/v1/usage` reads, in bytes: that at which it is rotated.
const USAGE_LOG_BYTES: u64 = 30 << 20;

pub(in crate::suites) async fn run(settings: &Settings) -> anyhow::Result<Section> {
    let mut latencies = Table::new(
        "The other client's small chat, idle and during the attack",
        &[
            "idle: p50, ms",
            "p99, ms",
            "attack: p50, ms",
            "p99, ms",
            "served",
            "refused",
        ],
    );
    let mut memory = Table::new(
        "Resident memory before, at the peak of, and after the attack",
        &[
            "Envoy, MiB",
            "peak",
            "30 s later",
            "90 s later",
            "sidecar, MiB",
            "peak",
            "30 s later",
            "90 s later",
            "child, MiB",
            "peak",
            "30 s later",
            "90 s later",
        ],
    );
    for attack in Attack::ALL {
        measure(settings, attack, &mut latencies, &mut memory).await?;
    }
    Ok(Section {
        name: "abuse",
        tables: vec![latencies, memory],
        figures: Vec::new(),
    })
}

async fn measure(
    settings: &Settings,
    attack: Attack,
    latencies: &mut Table,
    memory: &mut Table,
) -> anyhow::Result<()> {
    let stack = start_stack(settings, attack).await?;
    if attack == Attack::UsageScans {
        fill_usage_log(settings, &stack).await?;
    }
    let small = move || match attack.needs_codex() {
        true => chat("codex-5", PROMPT),
        false => chat("codex-5", &SMALL_TURN.prompt()),
    };
    let time = settings.pick(Duration::from_secs(20), Duration::from_millis(300));
    let target = stack.target();
    // Warms up: the first turn of a child costs more memory and time than the next.
    small_chats(&target, settings.slice(), small).await?;
    let idle = small_chats(&target, time, small)
        .await?
        .require_complete()?;
    let processes = Processes::of(&stack);
    let before = processes.memory();
    let sampler = PeakSampler::start(processes.clone());
    let attackers = attack.start(stack.envoy.address());
    let during = small_chats(&target, time, small).await?;
    drop(attackers);
    let peak = sampler.peak();
    sleep(settings.pick(Duration::from_secs(30), Duration::ZERO)).await;
    let soon = processes.memory();
    // Envoy's allocator waits one to five minutes before it takes a page for unused.
    sleep(settings.pick(Duration::from_mins(1), Duration::ZERO)).await;
    let late = processes.memory();
    latencies.row(attack.name(), latency_cells(&idle, &during));
    memory.row(attack.name(), memory_cells([before, peak, soon, late]));
    Ok(())
}

async fn small_chats(
    target: &Target,
    time: Duration,
    small: impl Fn() -> http::Request<tests::http::Body> + Send + Sync + 'static,
) -> anyhow::Result<Load> {
    closed_loop(target, 1, time, small).await
}

async fn start_stack(settings: &Settings, attack: Attack) -> anyhow::Result<Stack> {
    let (sidecar, model) = if attack.needs_codex() {
        let model = start_model().await?;
        (settings.sidecar(&model), model)
    } else {
        let model = ScriptedModel::start().await?;
        (settings.instant_sidecar(&model), model)
    };
    let sidecar = sidecar.env("PROXY_SSE_MAX_CONCURRENCY", PERMITS);
    Ok(Stack::start_with(sidecar, model, |envoy| {
        let keys = json!([{"id": "default", "key": KEY}, {"id": "attacker", "key": ATTACKER}]);
        envoy.filter("keys", keys)
    })
    .await)
}

/// Repeats the records of a few turns in the usage log.
async fn fill_usage_log(settings: &Settings, stack: &Stack) -> anyhow::Result<()> {
    small_chats(&stack.target(), settings.slice(), || {
        chat("codex-5", &SMALL_TURN.prompt())
    })
    .await?;
    let path = stack.sidecar.dir().join("codex-home/usage.ndjson");
    let records = fs::read(&path)?;
    let mut log = fs::OpenOptions::new().append(true).open(&path)?;
    let wanted = settings.pick(USAGE_LOG_BYTES, 1 << 20);
    while !records.is_empty() && log.metadata()?.len() < wanted {
        std::io::Write::write_all(&mut log, &records)?;
    }
    Ok(())
}

fn latency_cells(idle: &Load, during: &Load) -> Vec<Cell> {
    let served = during
        .samples
        .iter()
        .filter(|sample| sample.status == 200 && sample.is_complete)
        .count();
    let numbers = [
        idle.total_ms(0.5),
        idle.total_ms(0.99),
        during.total_ms(0.5),
        during.total_ms(0.99),
        count(served),
        count(during.samples.len() - served),
    ];
    numbers.map(Cell::from).into()
}

fn memory_cells(memory: [Memory; 4]) -> Vec<Cell> {
    let of = |part: fn(Memory) -> f64| memory.map(part);
    [
        of(|memory| memory.envoy),
        of(|memory| memory.sidecar),
        of(|memory| memory.children),
    ]
    .concat()
    .into_iter()
    .map(Cell::from)
    .collect()
}
