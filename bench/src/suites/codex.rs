//! Time to the first token with the real Codex: a long-lived child of the sidecar, compared with a process per request.
//!
//! The alternatives are `codex app-server` with the sidecar's calls, and `codex exec`, which most proxies start.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::Instant;
use xtask::command::bound_to_parent;
use xtask::tools::{Tool, Tools};

use super::real_codex::{PROMPT, create_home, start_model};
use crate::client::{Load, RequestSample, Target, chat, closed_loop};
use crate::codex::{BareLoop, Pacing};
use crate::plot::{Figure, Series};
use crate::report::{Cell, Section, Table};
use crate::settings::Settings;
use crate::stats::medians;

/// The process that runs the turn of a request.
#[derive(Debug, Clone, Copy)]
enum CodexProcess {
    Pooled,
    AppServer,
    Exec,
}

impl CodexProcess {
    /// All variants; the first one is the base of relative numbers.
    const ALL: [Self; 3] = [Self::Pooled, Self::AppServer, Self::Exec];

    fn name(self) -> &'static str {
        match self {
            Self::Pooled => "sidecar, one long-lived child",
            Self::AppServer => "`codex app-server` per request",
            Self::Exec => "`codex exec --json` per request",
        }
    }
}

pub(super) async fn run(settings: &Settings) -> anyhow::Result<Section> {
    let model = start_model().await?;
    let home = create_home(&model)?;
    let sidecar = settings
        .sidecar(&model)
        .env("PROXY_QUEUE_TIMEOUT_MS", "60000")
        .start()
        .await;
    let target = Target::Unix(sidecar.socket());
    let codex = Tools::open().executable(Tool::Codex)?;
    let mut tables = Vec::new();
    let mut series: Vec<Series> = Vec::new();
    for clients in settings.pick(vec![1, 4], vec![2]) {
        let mut rounds: Vec<_> = CodexProcess::ALL
            .map(|process| (process, Vec::new()))
            .into();
        for round in 0..settings.rounds() + 1 {
            for (process, numbers) in &mut rounds {
                let time = settings.pick(Duration::from_secs(3), Duration::from_millis(100));
                let load = match process {
                    CodexProcess::Pooled => {
                        closed_loop(&target, clients, time, || chat("codex-5", PROMPT))
                            .await?
                            .require_complete()?
                    }
                    CodexProcess::AppServer | CodexProcess::Exec => {
                        process_per_request(*process, &codex, home.path(), clients, time).await?
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
        let (table, points) = create_table(clients, &rounds);
        tables.push(table);
        series.push(Series::new(format!("clients: {clients}"), points));
    }
    let figure = Figure {
        file: "codex-first-token",
        title: "Time to the first token with the real Codex".into(),
        x: "one long-lived child, compared with a process per request".into(),
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

type Rounds = [(CodexProcess, Vec<[f64; 3]>)];

fn create_table(clients: usize, rounds: &Rounds) -> (Table, Vec<(f64, f64)>) {
    let columns = [
        "first token p50, ms",
        "first token p95, ms",
        "turns/s",
        "first token relative to the sidecar",
    ];
    let mut table = Table::new(format!("Real Codex, {clients} client(s)"), &columns);
    let (mut base, mut points) = (None, Vec::new());
    for ((process, rounds), group) in rounds.iter().zip(0u32..) {
        let [p50, p95, rate] = medians(rounds);
        let relative = p50 / *base.get_or_insert(p50);
        table.row(process.name(), [p50, p95, rate, relative].map(Cell::from));
        points.push((f64::from(group), p50));
    }
    (table, points)
}

/// Runs clients that start a process for each of their requests.
async fn process_per_request(
    process: CodexProcess,
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
            let mut samples = Vec::new();
            while started.elapsed() < time {
                samples.push(run_process(process, codex.clone(), &home).await?);
            }
            anyhow::Ok(samples)
        });
    }
    let mut samples = Vec::new();
    while let Some(result) = tasks.join_next().await {
        samples.extend(result??);
    }
    let elapsed = started.elapsed();
    Ok(Load { samples, elapsed })
}

async fn run_process(
    process: CodexProcess,
    codex: PathBuf,
    home: &Path,
) -> anyhow::Result<RequestSample> {
    let sent_at = Instant::now();
    if let CodexProcess::Exec = process {
        return exec(&codex, home, sent_at).await;
    }
    let mut child = BareLoop::start(&codex, &[], home).await?;
    let start_time = sent_at.elapsed();
    let sample = child
        .turns(PROMPT, 1, Pacing::Concurrent(1))
        .await?
        .into_iter()
        .next()
        .context("the child returned no sample")?;
    // The sample starts with the turn; a client of this proxy also waits for the start of the process.
    Ok(RequestSample {
        first_token: sample.first_token.map(|time| start_time + time),
        total: sent_at.elapsed(),
        ..sample
    })
}

/// Runs `codex exec`. Its first token is the whole text, which the program writes in one event.
async fn exec(codex: &Path, home: &Path, sent_at: Instant) -> anyhow::Result<RequestSample> {
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
    bound_to_parent(command.as_std_mut(), Signal::SIGKILL);
    let mut child = command.spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("stdout is piped")?).lines();
    let mut sample = RequestSample::default();
    while let Some(line) = lines.next_line().await? {
        if line.contains("agent_message") {
            sample.deltas += 1;
            sample.first_token.get_or_insert(sent_at.elapsed());
        }
    }
    sample.is_complete = child.wait().await?.success();
    ensure!(
        sample.is_complete && sample.deltas > 0,
        "`codex exec` failed"
    );
    // Includes the exit of the process, for which a proxy waits too.
    sample.total = sent_at.elapsed();
    Ok(sample)
}
