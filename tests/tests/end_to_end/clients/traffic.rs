//! Continuous traffic while a part of the chain restarts, with a record of each request.
//! The clients retry as OpenAI's SDKs do: after the `retry-after` of a 503, up to a number of attempts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Request;
use serde_json::json;
use tests::http::{Body, BufferedResponse, Client, DEADLINE, Version, bearer, post};
use tests::scripted_model::ScriptedModel;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::stack::KEY;

/// Number of concurrent clients, equal to the default number of permits.
pub(crate) const CLIENTS: usize = 4;

/// Running clients that send one request after another.
#[derive(Debug)]
pub(crate) struct Traffic {
    clients: JoinSet<Vec<TrafficRequest>>,
    finished: Arc<AtomicUsize>,
    stop: CancellationToken,
}

/// A request with all its attempts.
#[derive(Debug)]
pub(crate) struct TrafficRequest {
    /// The text of the model's response, unique among all requests.
    pub(crate) canary: String,
    pub(crate) attempts: usize,
    /// The response time of each 503 that had a `retry-after`.
    pub(crate) rejected_after: Vec<Duration>,
    /// The text of the last response, or a description of the failure.
    pub(crate) outcome: Result<String, String>,
}

impl Traffic {
    /// Starts clients of the server at `address` with up to `max_attempts` attempts for each request.
    pub(crate) fn start(address: SocketAddr, max_attempts: usize) -> Self {
        let (finished, stop) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
        let clients = (0..CLIENTS).map(|number| {
            let (finished, stop) = (Arc::clone(&finished), stop.clone());
            async move {
                let version = [Version::H1, Version::H2][number % 2];
                let mut requests = Vec::new();
                while !stop.is_cancelled() {
                    let canary = format!("canary {number}.{}.", requests.len());
                    requests.push(send(address, version, canary, max_attempts).await);
                    finished.fetch_add(1, Ordering::Relaxed);
                }
                requests
            }
        });
        Self {
            clients: clients.collect(),
            finished,
            stop,
        }
    }

    /// Waits until `more` further requests have finished.
    pub(crate) async fn flow(&self, more: usize) {
        let goal = self.finished.load(Ordering::Relaxed) + more;
        let wait = async {
            while self.finished.load(Ordering::Relaxed) < goal {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(DEADLINE * 2, wait)
            .await
            .expect("the clients finish their requests");
    }

    /// Lets every client finish its current request, and returns all requests.
    pub(crate) async fn stop(mut self) -> Vec<TrafficRequest> {
        self.stop.cancel();
        let mut requests = Vec::new();
        while let Some(client) = self.clients.join_next().await {
            requests.extend(client.expect("no client panics"));
        }
        requests
    }
}

impl TrafficRequest {
    /// The number of model requests that this request has caused.
    pub(crate) fn turns(&self, model: &ScriptedModel) -> usize {
        let requests = model.requests();
        let has_canary = |body: &serde_json::Value| body.to_string().contains(&self.canary);
        requests
            .iter()
            .filter(|request| has_canary(&request.body))
            .count()
    }
}

async fn send(
    address: SocketAddr,
    version: Version,
    canary: String,
    max_attempts: usize,
) -> TrafficRequest {
    let mut request = TrafficRequest {
        canary,
        attempts: 0,
        rejected_after: Vec::new(),
        outcome: Err("not sent".to_owned()),
    };
    while request.attempts < max_attempts && request.outcome.is_err() {
        request.attempts += 1;
        let started = Instant::now();
        let mut client = Client::connect(address, version).await;
        let response = client.send(chat(&request.canary)).await;
        let wait = response.as_ref().ok().and_then(retry_after);
        request.outcome = text(response);
        if let Some(wait) = wait {
            request.rejected_after.push(started.elapsed());
            sleep(wait).await;
        }
    }
    request
}

fn chat(canary: &str) -> Request<Body> {
    let script = json!([{"pause_ms": 50}, {"text": canary}]);
    let message = json!({"role": "user", "content": format!("[[model:{script}]]")});
    let body = json!({"model": "codex-5", "messages": [message]});
    bearer(post("/v1/chat/completions", body.to_string()), KEY)
}

/// The `retry-after` of a 503.
fn retry_after(response: &BufferedResponse) -> Option<Duration> {
    let seconds = response.header("retry-after").parse().ok()?;
    (response.status == 503).then(|| Duration::from_secs(seconds))
}

fn text(response: hyper::Result<BufferedResponse>) -> Result<String, String> {
    let buffered = response.map_err(|error| error.to_string())?;
    if buffered.status != 200 {
        return Err(format!("{buffered:?}"));
    }
    let text = &buffered.json()["choices"][0]["message"]["content"];
    Ok(text.as_str().unwrap_or_default().to_owned())
}
