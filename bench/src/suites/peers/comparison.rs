//! Others that put an OpenAI-shaped API before the Codex CLI, with the same Codex, model and clients as we have.
//! The packages are pinned in `bench/peers/requirements.txt`; each is configured as its own documentation says.

use super::observe::{Seen, Subject, trial};
use super::peer::{self, PEERS, Peer};
use crate::Settings;
use crate::client::Door;
use crate::report::{Cell, Figure, Section, Series, Table};
use crate::suites::codex::{home, model};
use crate::suites::stack::Stack;
use crate::usage;

pub(in crate::suites) async fn run(settings: &Settings) -> anyhow::Result<Section> {
    let columns = [
        "first token p50, ms",
        "p95, ms",
        "turns/s, 1 client",
        "turns/s, 4 clients",
        "pieces of text a turn",
        "memory of its own, MiB",
        "a wrong key",
        "a client that leaves",
    ];
    let mut table = Table::new("The same Codex, the same model, the same clients", &columns);
    let mut points = Vec::new();
    let mut add = |name: String, seen: anyhow::Result<Seen>| {
        let cells = match seen {
            Ok(seen) => {
                points.push((name.clone(), seen.first_token));
                seen.cells()
            }
            Err(error) => vec![Cell::Text(format!("cannot be run here: {error:#}"))],
        };
        table.row(name, cells);
    };
    add(
        "codex-edge (Envoy and sidecar)".into(),
        ours(settings).await,
    );
    if let Some(python) = &settings.peers {
        for spec in &PEERS {
            let seen = theirs(settings, spec, python).await;
            add(format!("{} {}", spec.package, spec.version), seen);
        }
    }
    let (groups, values): (Vec<_>, Vec<_>) = points.into_iter().unzip();
    let points = values
        .into_iter()
        .zip(0u32..)
        .map(|(value, group)| (f64::from(group), value));
    let figure = Figure {
        file: "peers",
        title: "Time to the first token, one client".into(),
        x: String::new(),
        y: "p50, ms".into(),
        groups: Some(groups),
        series: vec![Series::new("real Codex", points)],
    };
    Ok(Section {
        name: "peers",
        tables: vec![table],
        figures: vec![figure],
    })
}

async fn ours(settings: &Settings) -> anyhow::Result<Seen> {
    let model = model().await?;
    let stack = Stack::start(settings.sidecar(&model), model).await;
    let subject = Subject {
        door: stack.door(),
        model: "codex-5",
    };
    let mut seen = trial(settings, &subject, &stack.model).await?;
    let pids = [stack.envoy.pid(), stack.sidecar.pid()];
    seen.memory = pids.map(usage::resident_kib).iter().sum();
    Ok(seen)
}

async fn theirs(
    settings: &Settings,
    spec: &peer::Spec,
    python: &std::path::Path,
) -> anyhow::Result<Seen> {
    let model = model().await?;
    let home = home(&model)?;
    let peer = Peer::start(spec, python, home.path()).await?;
    let subject = Subject {
        door: Door::Tcp(peer.address()),
        model: "gpt-5",
    };
    let mut seen = trial(settings, &subject, &model).await?;
    seen.memory = usage::resident_kib(peer.pid());
    Ok(seen)
}
