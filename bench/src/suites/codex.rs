//! Real Codex: children that are there already, beside a process for every request.
//! `codex app-server` with the sidecar's calls, and `codex exec`, which is what most proxies start.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use serde_json::json;
use tempfile::TempDir;
use tests::scripted_model::{Script, ScriptedModel};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::Instant;
use xtask::command::bound_to_us;
use xtask::tools::{Tool, Tools};

use crate::Settings;
use crate::client::{Door, Load, Visit, chat, closed_loop};
use crate::codex::{Pace, Pipe};
use crate::report::{Cell, Figure, Section, Series, Table};
use crate::stats::medians;

/// What clients ask.
pub(super) const PROMPT: &str = "Who watched the fox at the door?";

/// A model that needs no time for a short answer, whatever it is asked.
pub(super) async fn model() -> anyhow::Result<ScriptedModel> {
    let model = ScriptedModel::start().await?;
    let answer = json!({"text": "Nobody watched the fox at the door.", "delta_chars": 5});
    model.set_default(Some(Script::parse(answer)?));
    Ok(model)
}

/// How a request comes to a Codex.
#[derive(Debug, Clone, Copy)]
enum Way {
    Pool,
    AppServer,
    Exec,
}

impl Way {
    const ALL: [Self; 3] = [Self::Pool, Self::AppServer, Self::Exec];

    fn name(self) -> &'static str {
        match self {
            Self::Pool => "sidecar, one long-lived child",
            Self::AppServer => "`codex app-server` a request",
            Self::Exec => "`codex exec --json` a request",
        }
    }
}

pub(super) async fn run(settings: &Settings) -> anyhow::Result<Section> {
    let model = model().await?;
    let home = home(&model)?;
    let sidecar = settings
        .sidecar(&model)
        .env("PROXY_QUEUE_TIMEOUT_MS", "60000");
    let sidecar = sidecar.start().await;
    let door = Door::Unix(sidecar.socket());
    let codex = Tools::open().executable(Tool::Codex)?;
    let mut tables = Vec::new();
    let mut series: Vec<Series> = Vec::new();
    for clients in settings.pick(vec![1, 4], vec![2]) {
        let mut rounds: Vec<_> = Way::ALL.map(|way| (way, Vec::new())).into();
        for round in 0..settings.rounds() + 1 {
            for (way, numbers) in &mut rounds {
                let time = settings.pick(Duration::from_secs(3), Duration::from_millis(100));
                let load = match way {
                    Way::Pool => closed_loop(&door, clients, time, || chat("gpt-5", PROMPT))
                        .await?
                        .all_whole()?,
                    Way::AppServer | Way::Exec => {
                        spawning(*way, &codex, home.path(), clients, time).await?
                    }
                };
                // The first round warms up.
                if round > 0 {
                    numbers.push([
                        load.first_token_ms(0.5),
                        load.first_token_ms(0.95),
                        load.rate(),
                    ]);
                }
            }
        }
        let (table, points) = table(clients, &rounds);
        tables.push(table);
        series.push(Series::new(format!("clients: {clients}"), points));
    }
    let figure = Figure {
        file: "codex-first-token",
        title: "Time to the first token with the real Codex".into(),
        x: "one long-lived child, beside a process a request".into(),
        y: "p50, ms".into(),
        groups: Some(["sidecar", "app-server", "exec"].map(str::to_owned).into()),
        series,
    };
    Ok(Section {
        name: "codex",
        tables,
        figures: vec![figure],
    })
}

type Rounds = [(Way, Vec<[f64; 3]>)];

fn table(clients: usize, rounds: &Rounds) -> (Table, Vec<(f64, f64)>) {
    let columns = [
        "first token p50, ms",
        "first token p95, ms",
        "turns/s",
        "times as long to the first token",
    ];
    let mut table = Table::new(format!("Real Codex, {clients} client(s)"), &columns);
    let (mut first, mut points) = (None, Vec::new());
    for ((way, rounds), group) in rounds.iter().zip(0u32..) {
        let [p50, p95, rate] = medians(rounds);
        let times = p50 / *first.get_or_insert(p50);
        table.row(way.name(), [p50, p95, rate, times].map(Cell::from));
        points.push((f64::from(group), p50));
    }
    (table, points)
}

/// A home whose Codex asks `model`, whoever starts it.
pub(super) fn home(model: &ScriptedModel) -> anyhow::Result<TempDir> {
    let home = TempDir::new()?;
    let config = format!(
        "model = \"gpt-5\"\nmodel_provider = \"scripted\"\n[model_providers.scripted]\nname = \"scripted\"\n\
         base_url = \"{}\"\nwire_api = \"responses\"\n",
        model.base_url()
    );
    std::fs::write(home.path().join("config.toml"), config)?;
    Ok(home)
}

/// Clients that start a process for each of their requests.
async fn spawning(
    way: Way,
    codex: &Path,
    home: &Path,
    clients: usize,
    time: Duration,
) -> anyhow::Result<Load> {
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        let (codex, home) = (codex.to_owned(), home.to_owned());
        tasks.spawn(async move {
            let mut visits = Vec::new();
            while started.elapsed() < time {
                visits.push(one_process(way, codex.clone(), &home).await?);
            }
            anyhow::Ok(visits)
        });
    }
    let mut visits = Vec::new();
    while let Some(done) = tasks.join_next().await {
        visits.extend(done??);
    }
    let elapsed = started.elapsed();
    Ok(Load { visits, elapsed })
}

async fn one_process(way: Way, codex: PathBuf, home: &Path) -> anyhow::Result<Visit> {
    let asked = Instant::now();
    if let Way::Exec = way {
        return exec(&codex, home, asked).await;
    }
    let mut pipe = Pipe::start(&codex, &[], home).await?;
    let before_turn = asked.elapsed();
    let visits = pipe.turns(PROMPT, 1, Pace::AtOnce(1)).await?;
    let visit = visits.into_iter().next().context("one turn was played")?;
    Ok(Visit {
        first_token: visit.first_token.map(|time| before_turn + time),
        whole: asked.elapsed(),
        ..visit
    })
}

/// `codex exec` says its text whole: that is its first token.
async fn exec(codex: &Path, home: &Path, asked: Instant) -> anyhow::Result<Visit> {
    let mut command = Command::new(codex);
    command
        .args([
            "exec",
            "--json",
            "--ephemeral",
            "--skip-git-repo-check",
            PROMPT,
        ])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("CODEX_HOME", home)
        .current_dir(home)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    bound_to_us(command.as_std_mut(), Signal::SIGKILL);
    let mut child = command.spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("stdout is piped")?).lines();
    let mut visit = Visit::default();
    while let Some(line) = lines.next_line().await? {
        if line.contains("agent_message") {
            visit.deltas += 1;
            visit.first_token.get_or_insert(asked.elapsed());
        }
    }
    visit.is_whole = child.wait().await?.success();
    ensure!(visit.is_whole && visit.deltas > 0, "`codex exec` failed");
    visit.whole = asked.elapsed();
    Ok(visit)
}
