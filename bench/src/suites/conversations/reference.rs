//! The reference: `codex exec` for the first message of a conversation, `codex exec resume` for each later one.
//!
//! It has Codex's own instructions and tools, a home of its own, and a process for each message of the user.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use tests::codex::{codex_binary, codex_tool};
use tests::scripted_model::ScriptedModel;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::Instant;
use xtask::command::bound_to_parent;

use super::filler::source_code;
use super::score::{cached_percent, model_requests, possible_percent};
use super::shape::Shape;
use crate::stats::{count, ms, quantile, us};
use crate::suites::real_codex::create_home;
use crate::usage::cpu_time;

/// File that the commands of the model read.
const FILE: &str = "source.txt";

/// Codex without a sidecar.
#[derive(Debug)]
pub(super) struct Reference {
    codex: PathBuf,
    home: TempDir,
    model: ScriptedModel,
}

/// The numbers of a conversation.
#[derive(Debug)]
pub(super) struct ReferenceNumbers {
    pub(super) cached_percent: f64,
    pub(super) possible_percent: f64,
    /// Time to the answer, from the start of the process, in milliseconds: p50 and p95.
    pub(super) answer_ms: [f64; 2],
    /// Processor time for each model request, without that of the commands.
    pub(super) cpu_ms: f64,
}

/// One process.
#[derive(Debug, Default)]
struct ExecSample {
    thread: String,
    answer: Option<Duration>,
    cpu: Duration,
}

impl Reference {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let model = ScriptedModel::start().await?;
        let home = create_home(&model)?;
        std::fs::write(home.path().join(FILE), source_code(FILE, 8_000))?;
        Ok(Self {
            codex: codex_binary(codex_tool()).into(),
            home,
            model,
        })
    }

    /// Runs the messages of `shape`, one after the other.
    ///
    /// # Errors
    /// When a process fails, or gives no answer.
    pub(super) async fn run(&self, shape: &Shape) -> anyhow::Result<ReferenceNumbers> {
        self.model.clear();
        let mut samples: Vec<ExecSample> = Vec::new();
        for turn in &shape.turns {
            let thread = samples.first().map(|first| &first.thread[..]);
            samples.push(self.exec(thread, &turn.codex_prompt(FILE)).await?);
        }
        let requests = model_requests(&self.model);
        ensure!(
            requests.len() == shape.requests(),
            "{}: {} model requests instead of {}",
            shape.name,
            requests.len(),
            shape.requests()
        );
        let answers: Vec<f64> = samples
            .iter()
            .filter_map(|sample| sample.answer)
            .map(ms)
            .collect();
        let cpu: Duration = samples.iter().map(|sample| sample.cpu).sum();
        Ok(ReferenceNumbers {
            cpu_ms: us(cpu) / 1e3 / count(requests.len()),
            possible_percent: possible_percent(&requests),
            cached_percent: cached_percent(requests),
            answer_ms: [0.5, 0.95].map(|q| quantile(&answers, q)),
        })
    }

    async fn exec(&self, thread: Option<&str>, prompt: &str) -> anyhow::Result<ExecSample> {
        let started_at = Instant::now();
        let mut child = self.command(thread, prompt).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("stdout is piped")?).lines();
        let mut sample = ExecSample::default();
        while let Some(line) = lines.next_line().await? {
            let event: Value = serde_json::from_str(&line)?;
            if let Some(thread) = event["thread_id"].as_str() {
                thread.clone_into(&mut sample.thread);
            }
            if event["item"]["type"] == "agent_message" {
                sample.answer = Some(started_at.elapsed());
            }
        }
        // After the last line the process still writes its files, which is a part of its cost.
        sample.cpu = cpu_of_ended(&mut child).await?;
        ensure!(
            child.wait().await?.success() && sample.answer.is_some(),
            "`codex exec` gave no answer"
        );
        Ok(sample)
    }

    fn command(&self, thread: Option<&str>, prompt: &str) -> Command {
        let home: &Path = self.home.path();
        let mut command = Command::new(&self.codex);
        command
            .args(["exec", "--json", "--skip-git-repo-check"])
            .args(thread.into_iter().flat_map(|thread| ["resume", thread]))
            .arg(prompt)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", home)
            .env("CODEX_HOME", home)
            .current_dir(home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        bound_to_parent(command.as_std_mut(), Signal::SIGKILL);
        command
    }
}

/// Waits for the end of `child`, and returns its processor time before it is reaped.
async fn cpu_of_ended(child: &mut Child) -> anyhow::Result<Duration> {
    let pid = i32::try_from(child.id().context("the child was not reaped")?)?;
    // tokio reaps a child only in `wait`; the clock of a process is gone once it is reaped.
    tokio::task::spawn_blocking(move || {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        waitid(Id::Pid(Pid::from_raw(pid)), flags)?;
        Ok(cpu_time(pid))
    })
    .await?
}
