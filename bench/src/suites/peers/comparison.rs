//! The suite: one row for codex-edge and one per peer.

use std::path::Path;

use anyhow::Context;
use tests::codex::models::default_model;
use xtask::tools::{Tool, Tools};

use super::observe::{Gateway, Observed, observe};
use super::peer::{PEERS, Peer, PeerSpec};
use crate::client::Target;
use crate::plot::{Figure, Series};
use crate::report::{Cell, Section, Table};
use crate::settings::Settings;
use crate::suites::real_codex::{create_home, start_model};
use crate::suites::stack::Stack;
use crate::usage;

pub(in crate::suites) async fn run(settings: &Settings) -> anyhow::Result<Section> {
    let columns = [
        "first token p50, ms",
        "p95, ms",
        "turns/s, 1 client",
        "turns/s, 4 clients",
        "deltas per turn",
        "own memory, MiB",
        "wrong key",
        "client disconnects",
    ];
    let mut table = Table::new("The same Codex, model and clients", &columns);
    let mut points = Vec::new();
    let mut add_row = |name: String, observed: anyhow::Result<Observed>| {
        let cells = match observed {
            Ok(observed) => {
                points.push((name.clone(), observed.first_token_p50));
                observed.cells()
            }
            // A peer that fails is a result too, and must not end the run.
            Err(error) => vec![Cell::Text(format!("cannot be run here: {error:#}"))],
        };
        table.row(name, cells);
    };
    add_row(
        "codex-edge (Envoy and sidecar)".into(),
        observe_codex_edge(settings).await,
    );
    if let Some(python) = &settings.peers {
        for spec in &PEERS {
            let observed = observe_peer(settings, spec, python).await;
            add_row(format!("{} {}", spec.package, spec.version), observed);
        }
    }
    Ok(Section {
        name: "peers",
        tables: vec![table],
        figures: vec![create_figure(points)],
    })
}

fn create_figure(points: Vec<(String, f64)>) -> Figure {
    let (groups, values): (Vec<_>, Vec<_>) = points.into_iter().unzip();
    let bars = values
        .into_iter()
        .zip(0u32..)
        .map(|(value, group)| (f64::from(group), value));
    Figure {
        file: "peers",
        title: "Time to the first token, one client".into(),
        x: String::new(),
        y: "p50, ms".into(),
        groups: Some(groups),
        series: vec![Series::new("real Codex", bars)],
    }
}

async fn observe_codex_edge(settings: &Settings) -> anyhow::Result<Observed> {
    let model = start_model().await?;
    let stack = Stack::start(settings.sidecar(&model), model).await;
    let gateway = Gateway {
        target: stack.target(),
        model: "codex-5",
    };
    let mut observed = observe(settings, &gateway, &stack.model).await?;
    let pids = [stack.envoy.pid(), stack.sidecar.pid()];
    observed.memory_kib = pids.map(usage::resident_kib).iter().sum();
    Ok(observed)
}

async fn observe_peer(
    settings: &Settings,
    spec: &PeerSpec,
    python: &Path,
) -> anyhow::Result<Observed> {
    let model = start_model().await?;
    let home = create_home(&model)?;
    let codex = Tools::open().executable(Tool::Codex)?;
    let programs = codex.parent().context("Codex is not in a directory")?;
    let peer = Peer::start(spec, python, home.path(), programs).await?;
    let gateway = Gateway {
        target: Target::Tcp(peer.address()),
        model: default_model(),
    };
    let mut observed = observe(settings, &gateway, &model).await?;
    observed.memory_kib = usage::resident_kib(peer.pid());
    Ok(observed)
}
