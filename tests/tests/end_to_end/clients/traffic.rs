//! Clients that ask without a pause while something behind them changes, and a count of what came of it.
//! They try again as OpenAI's SDKs do: twice, after a 503, when its `retry-after` is over.

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

/// Clients at once, as many as there are slots.
pub(crate) const CLIENTS: usize = 4;

/// The clients.
#[derive(Debug)]
pub(crate) struct Traffic {
    clients: JoinSet<Vec<Asked>>,
    answered: Arc<AtomicUsize>,
    stop: CancellationToken,
}

/// A question, and how it went.
#[derive(Debug)]
pub(crate) struct Asked {
    /// What the model is told to say; no other question has it.
    pub(crate) canary: String,
    /// How often it was asked.
    pub(crate) tries: usize,
    /// How long each 503 took that told when to come again.
    pub(crate) turned_away: Vec<Duration>,
    /// The last answer: the text, or what came instead.
    pub(crate) answer: Result<String, String>,
}

impl Traffic {
    /// Clients of the server at `address` that ask each question up to `tries` times.
    pub(crate) fn start(address: SocketAddr, tries: usize) -> Self {
        let (answered, stop) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
        let clients = (0..CLIENTS).map(|number| {
            let (answered, stop) = (Arc::clone(&answered), stop.clone());
            async move {
                let version = [Version::H1, Version::H2][number % 2];
                let mut asked = Vec::new();
                while !stop.is_cancelled() {
                    let canary = format!("canary {number}.{}.", asked.len());
                    asked.push(ask(address, version, canary, tries).await);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                asked
            }
        });
        Self {
            clients: clients.collect(),
            answered,
            stop,
        }
    }

    /// Waits until so many more questions were answered.
    pub(crate) async fn flow(&self, more: usize) {
        let goal = self.answered.load(Ordering::Relaxed) + more;
        let flows = async {
            while self.answered.load(Ordering::Relaxed) < goal {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(DEADLINE * 2, flows)
            .await
            .expect("the traffic flows");
    }

    /// Lets every client read its last answer, and returns all questions.
    pub(crate) async fn stop(mut self) -> Vec<Asked> {
        self.stop.cancel();
        let mut asked = Vec::new();
        while let Some(client) = self.clients.join_next().await {
            asked.extend(client.expect("no client panics"));
        }
        asked
    }
}

impl Asked {
    /// How many requests the model had because of it.
    pub(crate) fn turns(&self, model: &ScriptedModel) -> usize {
        let requests = model.requests();
        let asks = |body: &serde_json::Value| body.to_string().contains(&self.canary);
        requests
            .iter()
            .filter(|request| asks(&request.body))
            .count()
    }
}

async fn ask(address: SocketAddr, version: Version, canary: String, tries: usize) -> Asked {
    let mut asked = Asked {
        canary,
        tries: 0,
        turned_away: Vec::new(),
        answer: Err("not asked".to_owned()),
    };
    while asked.tries < tries && asked.answer.is_err() {
        asked.tries += 1;
        let begun = Instant::now();
        let mut client = Client::connect(address, version).await;
        let answer = client.send(chat(&asked.canary)).await;
        let wait = answer.as_ref().ok().and_then(retry_after);
        asked.answer = text(answer);
        if let Some(wait) = wait {
            asked.turned_away.push(begun.elapsed());
            sleep(wait).await;
        }
    }
    asked
}

fn chat(canary: &str) -> Request<Body> {
    let script = json!([{"pause_ms": 50}, {"text": canary}]);
    let message = json!({"role": "user", "content": format!("[[model:{script}]]")});
    let body = json!({"model": "codex-5", "messages": [message]});
    bearer(post("/v1/chat/completions", body.to_string()), KEY)
}

/// When a 503 says to come again.
fn retry_after(answer: &BufferedResponse) -> Option<Duration> {
    let seconds = answer.header("retry-after").parse().ok()?;
    (answer.status == 503).then(|| Duration::from_secs(seconds))
}

fn text(answer: hyper::Result<BufferedResponse>) -> Result<String, String> {
    let answer = answer.map_err(|error| error.to_string())?;
    if answer.status != 200 {
        return Err(format!("{answer:?}"));
    }
    let text = &answer.json()["choices"][0]["message"]["content"];
    Ok(text.as_str().unwrap_or_default().to_owned())
}
