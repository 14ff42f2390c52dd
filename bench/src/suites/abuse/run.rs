//! The measurement of each attack.

use std::fs;
use std::time::Duration;

use serde_json::json;
use tests::envoy::{Envoy, EnvoyOptions};
use tests::scripted_model::ScriptedModel;
use tokio::time::sleep;

use super::attack::{ATTACKER, Attack};
use super::memory::{Memory, PeakSampler, Processes};
use crate::client::{KEY, Load, RequestSample, Target, chat, closed_loop};
use crate::codex::Workload;
use crate::report::{Cell, Section, Table};
use crate::settings::Settings;
use crate::stats::count;
use crate::suites::envoy::Upstream;
use crate::suites::real_codex::{PROMPT, start_model};
use crate::suites::stack::{Stack, discard_access_log};

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
            "sidecar, MiB",
            "peak",
            "30 s later",
            "child, MiB",
            "peak",
            "30 s later",
        ],
    );
    for attack in Attack::ALL {
        measure(settings, attack, &mut latencies, &mut memory).await?;
        if attack == Attack::WholeBodies {
            measure_without_gateway(settings, attack, &mut latencies).await?;
        }
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
    sleep(settings.pick(Duration::from_secs(28), Duration::ZERO)).await;
    // The other client goes on: Envoy's allocator gives pages back when it next needs one.
    small_chats(&target, settings.slice(), small).await?;
    let after = processes.memory();
    latencies.row(
        attack.name(),
        latency_cells(&idle, &during, |sample| {
            sample.status == 200 && sample.is_complete
        }),
    );
    memory.row(attack.name(), memory_cells([before, peak, after]));
    Ok(())
}

/// Measures what the machine does to a small request while Envoy alone reads the same bodies, without the filter, for an
/// upstream that discards them.
async fn measure_without_gateway(
    settings: &Settings,
    attack: Attack,
    latencies: &mut Table,
) -> anyhow::Result<()> {
    let upstream = Upstream::start()?;
    let options = EnvoyOptions::new(upstream.socket()).filters_instead("");
    let envoy = Envoy::start(discard_access_log(options)).await;
    let small = || chat("codex-5", &SMALL_TURN.prompt());
    let time = settings.pick(Duration::from_secs(20), Duration::from_millis(300));
    let target = Target::Tcp(envoy.address());
    small_chats(&target, settings.slice(), small).await?;
    let idle = small_chats(&target, time, small)
        .await?
        .require_status(200)?;
    let attackers = attack.start(envoy.address());
    let during = small_chats(&target, time, small)
        .await?
        .require_status(200)?;
    drop(attackers);
    let cells = latency_cells(&idle, &during, |_| true);
    latencies.row("the same, Envoy without filter and sidecar", cells);
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

fn latency_cells(
    idle: &Load,
    during: &Load,
    is_served: impl Fn(&RequestSample) -> bool,
) -> Vec<Cell> {
    let samples = during.samples.iter();
    let served = samples.filter(|sample| is_served(sample)).count();
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

fn memory_cells(memory: [Memory; 3]) -> Vec<Cell> {
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
