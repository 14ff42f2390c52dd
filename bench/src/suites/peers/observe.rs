//! What every subject is put to: streams, a wrong key, a client that leaves.
//! The same requests for all, by way of OpenAI's chat completions.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::json;
use tests::http::{bearer, post, with};
use tests::scripted_model::{Script, ScriptedModel};
use tokio::time::Instant;

use crate::Settings;
use crate::client::{Door, Load, chat, closed_loop};
use crate::report::Cell;
use crate::stats::{count, ms};
use crate::suites::codex::PROMPT;

/// An answer that would go on for a minute.
fn endless() -> anyhow::Result<Script> {
    let message = json!({"chars": 6000, "delta_chars": 10, "delay_ms": 100});
    Ok(Script::parse(message)?)
}

/// Time in which a turn should end when its client has left.
const LEAVING: Duration = Duration::from_secs(5);

/// What is put to the trial.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) door: Door,
    pub(super) model: &'static str,
}

/// What it showed.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) first_token: f64,
    first_token_late: f64,
    rate: f64,
    rate_of_four: f64,
    pieces: f64,
    /// KiB.
    pub(super) memory: f64,
    wrong_key: u16,
    /// How long the turn went on, if it ended.
    left: Option<Duration>,
}

impl Seen {
    pub(super) fn cells(&self) -> Vec<Cell> {
        let numbers = [
            self.first_token,
            self.first_token_late,
            self.rate,
            self.rate_of_four,
            self.pieces,
            self.memory / 1024.0,
        ];
        let key = match self.wrong_key {
            401 | 403 => format!("refused ({})", self.wrong_key),
            status => format!("**let in** ({status})"),
        };
        let left = match self.left {
            Some(time) => format!("turn ends in {:.0} ms", ms(time)),
            None => format!("**turn goes on** for {} s and more", LEAVING.as_secs()),
        };
        let words = [key, left].map(Cell::Text);
        numbers.map(Cell::from).into_iter().chain(words).collect()
    }
}

/// Puts `subject`, whose Codex asks `model`, to the trial.
///
/// # Errors
/// When it does not serve what it should.
pub(super) async fn trial(
    settings: &Settings,
    subject: &Subject,
    model: &ScriptedModel,
) -> anyhow::Result<Seen> {
    let warm_up = streams(settings, subject, 1).await?;
    ensure!(warm_up.deltas() > 0, "it says nothing");
    let one = streams(settings, subject, 1).await?;
    let four = streams(settings, subject, 4).await?;
    Ok(Seen {
        first_token: one.first_token_ms(0.5),
        first_token_late: one.first_token_ms(0.95),
        rate: one.rate(),
        rate_of_four: four.rate(),
        pieces: count(one.deltas()) / count(one.visits.len()),
        memory: 0.0,
        wrong_key: wrong_key(subject).await?,
        left: leave(subject, model).await?,
    })
}

async fn streams(settings: &Settings, subject: &Subject, clients: usize) -> anyhow::Result<Load> {
    let time = settings.pick(Duration::from_secs(8), Duration::from_millis(200));
    let name = subject.model;
    closed_loop(&subject.door, clients, time, move || chat(name, PROMPT))
        .await?
        .all_whole()
}

async fn wrong_key(subject: &Subject) -> anyhow::Result<u16> {
    let message = json!({"role": "user", "content": PROMPT});
    let body = json!({"model": subject.model, "messages": [message]});
    let request = post("/v1/chat/completions", body.to_string());
    let request = with(bearer(request, "a-wrong-key"), "host", "127.0.0.1");
    Ok(subject
        .door
        .open()
        .await?
        .send(request)
        .await?
        .status
        .as_u16())
}

/// Leaves as soon as the model has been asked, and waits until Codex leaves the model too.
async fn leave(subject: &Subject, model: &ScriptedModel) -> anyhow::Result<Option<Duration>> {
    model.clear();
    model.enqueue(endless()?);
    let mut client = subject.door.open().await?;
    let stream = client.stream(chat(subject.model, PROMPT)).await?;
    model
        .wait_for_requests(1, LEAVING * 2)
        .await
        .context("the model is not asked")?;
    drop((stream, client));
    let left = Instant::now();
    let cut = model.wait_for_cut(1, LEAVING).await;
    Ok(cut.is_ok().then(|| left.elapsed()))
}
