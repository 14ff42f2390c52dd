//! The measurements of one gateway: streams, a wrong key, and a client that disconnects.
//!
//! All gateways get the same chat completion requests.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::json;
use tests::http::{bearer, post, with};
use tests::scripted_model::{Script, ScriptedModel};
use tokio::time::Instant;

use crate::client::{Load, Target, chat, closed_loop};
use crate::report::Cell;
use crate::settings::Settings;
use crate::stats::{count, ms};
use crate::suites::real_codex::PROMPT;

/// Time in which a turn must end after its client has disconnected.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The gateway under measurement.
#[derive(Debug)]
pub(super) struct Gateway {
    pub(super) target: Target,
    /// Model name in the requests.
    pub(super) model: &'static str,
}

/// Measured values of one gateway.
#[derive(Debug)]
pub(super) struct Observed {
    /// Milliseconds.
    pub(super) first_token_p50: f64,
    first_token_p95: f64,
    /// Turns per second with one client.
    rate: f64,
    rate_of_four_clients: f64,
    deltas_per_turn: f64,
    pub(super) memory_kib: f64,
    /// Status of the response to a wrong key.
    wrong_key_status: u16,
    /// Time from the disconnect of the client to the end of its turn; `None` after [`DISCONNECT_TIMEOUT`].
    turn_end: Option<Duration>,
}

impl Observed {
    pub(super) fn cells(&self) -> Vec<Cell> {
        let numbers = [
            self.first_token_p50,
            self.first_token_p95,
            self.rate,
            self.rate_of_four_clients,
            self.deltas_per_turn,
            self.memory_kib / 1024.0,
        ];
        let key = match self.wrong_key_status {
            status @ (401 | 403) => format!("rejected ({status})"),
            status => format!("**accepted** ({status})"),
        };
        let disconnect = match self.turn_end {
            Some(time) => format!("turn ends after {:.0} ms", ms(time)),
            None => format!(
                "**turn still running** after {} s",
                DISCONNECT_TIMEOUT.as_secs()
            ),
        };
        let texts = [key, disconnect].map(Cell::Text);
        numbers.map(Cell::from).into_iter().chain(texts).collect()
    }
}

/// Measures `gateway`; `model` is the provider of its Codex.
///
/// # Errors
/// When a response is not a complete stream, or a connection fails.
pub(super) async fn observe(
    settings: &Settings,
    gateway: &Gateway,
    model: &ScriptedModel,
) -> anyhow::Result<Observed> {
    let warm_up = measure_streams(settings, gateway, 1).await?;
    ensure!(warm_up.deltas() > 0, "the response has no text");
    let one_client = measure_streams(settings, gateway, 1).await?;
    let four_clients = measure_streams(settings, gateway, 4).await?;
    Ok(Observed {
        first_token_p50: one_client.first_token_ms(0.5),
        first_token_p95: one_client.first_token_ms(0.95),
        rate: one_client.rate(),
        rate_of_four_clients: four_clients.rate(),
        deltas_per_turn: count(one_client.deltas()) / count(one_client.samples.len()),
        // Filled in by the caller, which knows the processes of the gateway.
        memory_kib: 0.0,
        wrong_key_status: send_wrong_key(gateway).await?,
        turn_end: disconnect(gateway, model).await?,
    })
}

async fn measure_streams(
    settings: &Settings,
    gateway: &Gateway,
    clients: usize,
) -> anyhow::Result<Load> {
    let time = settings.pick(Duration::from_secs(8), Duration::from_millis(200));
    let model = gateway.model;
    closed_loop(&gateway.target, clients, time, move || chat(model, PROMPT))
        .await?
        .require_complete()
}

async fn send_wrong_key(gateway: &Gateway) -> anyhow::Result<u16> {
    let message = json!({"role": "user", "content": PROMPT});
    let body = json!({"model": gateway.model, "messages": [message]});
    let request = bearer(
        post("/v1/chat/completions", body.to_string()),
        "a-wrong-key",
    );
    let mut client = gateway.target.connect().await?;
    let response = client.send(with(request, "host", "127.0.0.1")).await?;
    Ok(response.status.as_u16())
}

/// Disconnects as soon as the model has the request, and waits until Codex disconnects from the model.
async fn disconnect(gateway: &Gateway, model: &ScriptedModel) -> anyhow::Result<Option<Duration>> {
    model.clear();
    model.enqueue(one_minute_response()?);
    let mut client = gateway.target.connect().await?;
    let stream = client.stream(chat(gateway.model, PROMPT)).await?;
    model
        .wait_for_requests(1, DISCONNECT_TIMEOUT * 2)
        .await
        .context("the model received no request")?;
    // Both: the stream alone would leave the connection open.
    drop((stream, client));
    let disconnected_at = Instant::now();
    let cut = model.wait_for_disconnects(1, DISCONNECT_TIMEOUT).await;
    Ok(cut.is_ok().then(|| disconnected_at.elapsed()))
}

fn one_minute_response() -> anyhow::Result<Script> {
    let message = json!({"chars": 6000, "delta_chars": 10, "delay_ms": 100});
    Ok(Script::parse(message)?)
}
