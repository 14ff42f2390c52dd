//! The cost of the gateway with a child that responds at once: the time that it adds, its throughput and its CPU, at a number
//! of connections and at a fixed rate.
//!
//! The variants take turns within each round. The bare loop over the pipe of a child is what no gateway on this child can
//! fall below.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tests::codex::models::default_model;
use tests::scripted_model::ScriptedModel;

use crate::client::{KEY, Load, Target, chat, closed_loop, open_loop_on};
use crate::codex::{BareLoop, Pacing, Workload};
use crate::report::{Cell, Table};
use crate::settings::Settings;
use crate::stats::{count, medians, us};
use crate::suites::peers::{PEERS, Peer};
use crate::suites::stack::Stack;
use crate::usage;

/// The response of every turn. Peers ask for text in `turn/start`, as codex-edge does not; the child reads both.
const RESPONSE: Workload = Workload {
    deltas: 1,
    pause_us: 0,
};

/// Requests per second of the open loop.
const RATE: u32 = 3000;

/// Connections of the open loop: far more than the chain needs at that rate, far fewer than Envoy accepts.
const CONNECTIONS: usize = 1000;

/// A load.
#[derive(Debug, Clone, Copy)]
enum Pace {
    /// A closed loop: each connection sends its next request after the response to the previous one.
    Connections(usize),
    /// An open loop of this number of requests, at [`RATE`] and on at most [`CONNECTIONS`].
    FixedRate(usize),
}

/// Requests per second, p50 and p99 of the whole response in milliseconds, and the CPU of gateway and child in microseconds
/// per request.
type Measured = [f64; 6];

const RATE_COLUMN: usize = 0;
const P50: usize = 1;
const P99: usize = 2;
const ENVOY: usize = 3;
const GATEWAY: usize = 4;
const CHILD: usize = 5;

pub(super) async fn run(settings: &Settings) -> anyhow::Result<Vec<Table>> {
    let home = TempDir::new()?;
    let mut bare_loop = BareLoop::start(&settings.instant_codex, &[], home.path()).await?;
    let model = ScriptedModel::start().await?;
    // The backlog of the open loop is in progress too, and would meet the key's limit.
    let stack = Stack::start_with(settings.instant_sidecar(&model), model, |envoy| {
        envoy
            .env("PROXY_API_KEY", KEY)
            .filter("max_client_requests", 1_000_000.into())
    })
    .await;
    let mut tables = Vec::new();
    // The most requests per second that a peer has answered in a closed loop.
    let mut peer_rates = HashMap::new();
    for pace in [
        Pace::Connections(1),
        Pace::Connections(16),
        Pace::Connections(64),
        Pace::FixedRate(settings.pick(5 * 3000, 30)),
    ] {
        let (mut bare, mut chain) = (Vec::new(), Vec::new());
        for round in 0..settings.rounds() + 1 {
            let results = (
                measure_bare_loop(settings, &mut bare_loop, pace).await?,
                measure_chain(settings, &stack, pace).await?,
            );
            // The first round warms up.
            if round > 0 {
                bare.push(results.0);
                chain.push(results.1);
            }
        }
        let bare = medians(&bare);
        let mut table = create_table(pace);
        table.row("bare loop over the pipe of the child", cells(bare, bare));
        table.row(
            "codex-edge (Envoy, filter, sidecar)",
            cells(medians(&chain), bare),
        );
        if let Some(python) = &settings.peers {
            for spec in &PEERS {
                let name = format!("{} {}", spec.package, spec.version);
                let reached = peer_rates.entry(spec.package).or_insert(0.0_f64);
                if matches!(pace, Pace::FixedRate(_)) && *reached < f64::from(RATE) {
                    let text = match *reached {
                        0.0 => "cannot be run here".to_owned(),
                        reached => format!("reaches {reached:.0} requests/s"),
                    };
                    table.row(name, vec![Cell::Text(text)]);
                    continue;
                }
                let row = match measure_peer(settings, spec, python, pace).await {
                    Ok(measured) => {
                        *reached = reached.max(measured[RATE_COLUMN]);
                        cells(measured, bare)
                    }
                    // A peer that fails is a result too, and must not end the run.
                    Err(error) => vec![Cell::Text(format!("cannot be run here: {error:#}"))],
                };
                table.row(name, row);
            }
        }
        tables.push(table);
    }
    Ok(tables)
}

fn create_table(pace: Pace) -> Table {
    let title = match pace {
        Pace::Connections(1) => "Instant child, 1 connection".to_owned(),
        Pace::Connections(connections) => format!("Instant child, {connections} connections"),
        Pace::FixedRate(_) => format!("Instant child, {RATE} requests/s"),
    };
    let columns = [
        "requests/s",
        "p50, ms",
        "p99, ms",
        "added p50, ms",
        "added p99, ms",
        "Envoy CPU, µs per request",
        "gateway CPU",
        "child CPU",
    ];
    Table::new(title, &columns)
}

/// The cells of a row, with the time that `measured` adds to that of the bare loop.
fn cells(measured: Measured, bare: Measured) -> Vec<Cell> {
    let is_gateway = measured[GATEWAY] > 0.0;
    let of_gateway = |number: f64| Cell::from(is_gateway.then_some(number));
    vec![
        measured[RATE_COLUMN].into(),
        measured[P50].into(),
        measured[P99].into(),
        of_gateway(measured[P50] - bare[P50]),
        of_gateway(measured[P99] - bare[P99]),
        Cell::from((measured[ENVOY] > 0.0).then_some(measured[ENVOY])),
        of_gateway(measured[GATEWAY]),
        Cell::from((measured[CHILD] > 0.0).then_some(measured[CHILD])),
    ]
}

async fn measure_bare_loop(
    settings: &Settings,
    bare_loop: &mut BareLoop,
    pace: Pace,
) -> anyhow::Result<Measured> {
    let (turns, pacing) = match pace {
        Pace::Connections(clients) => {
            (clients * settings.pick(500, 5), Pacing::Concurrent(clients))
        }
        Pace::FixedRate(turns) => (turns, Pacing::Interval(Duration::from_secs(1) / RATE)),
    };
    let (started, before) = (
        tokio::time::Instant::now(),
        usage::cpu_time(bare_loop.pid()),
    );
    let samples = bare_loop.turns(&RESPONSE.prompt(), turns, pacing).await?;
    let load = Load {
        samples,
        elapsed: started.elapsed(),
    };
    let child = usage::cpu_time(bare_loop.pid()).saturating_sub(before);
    Ok(numbers(&load, [0.0, 0.0, us(child) / count(turns)]))
}

async fn measure_chain(settings: &Settings, stack: &Stack, pace: Pace) -> anyhow::Result<Measured> {
    let before = stack.cpu_usage();
    let load = send(settings, &stack.target(), pace, "codex-5").await?;
    let cpu = stack
        .cpu_usage()
        .per_request_since(before, load.samples.len());
    Ok(numbers(&load, [cpu.envoy, cpu.sidecar, cpu.codex]))
}

/// Starts a peer with the instant child as its Codex, warms it up, and measures it once.
async fn measure_peer(
    settings: &Settings,
    spec: &crate::suites::peers::PeerSpec,
    python: &Path,
    pace: Pace,
) -> anyhow::Result<Measured> {
    let home = TempDir::new()?;
    let programs = TempDir::new()?;
    std::os::unix::fs::symlink(&settings.instant_codex, programs.path().join("codex"))?;
    let peer = Peer::start(spec, python, home.path(), programs.path()).await?;
    let target = Target::Tcp(peer.address());
    send(settings, &target, Pace::Connections(1), default_model()).await?;
    let running = send(settings, &target, pace, default_model());
    let (load, gateway) = usage::cpu_time_during(peer.pid(), running).await;
    let load = load?;
    // Its children end with their turns, or are not known.
    Ok(numbers(
        &load,
        [0.0, us(gateway) / count(load.samples.len()), 0.0],
    ))
}

async fn send(
    settings: &Settings,
    target: &Target,
    pace: Pace,
    model: &'static str,
) -> anyhow::Result<Load> {
    let request = move || chat(model, &RESPONSE.prompt());
    let load = match pace {
        Pace::Connections(clients) => {
            closed_loop(target, clients, settings.slice(), request).await?
        }
        Pace::FixedRate(requests) => {
            let interval = Duration::from_secs(1) / RATE;
            open_loop_on(target, CONNECTIONS, interval, requests, request).await?
        }
    };
    load.require_complete()
}

fn numbers(load: &Load, [envoy, gateway, child]: [f64; 3]) -> Measured {
    [
        load.rate(),
        load.total_ms(0.5),
        load.total_ms(0.99),
        envoy,
        gateway,
        child,
    ]
}
