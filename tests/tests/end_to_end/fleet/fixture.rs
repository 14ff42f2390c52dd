//! The fleet, its keys, and their requests.

use std::time::Duration;

use http::Request;
use serde_json::{Value, json};
use tests::cut::CuttableNetwork;
use tests::envoy::{Envoy, EnvoyOptions};
use tests::http::{Body, BufferedResponse, Version, bearer, get, post};
use tests::redis::Redis;
use tests::scripted_model::ScriptedModel;
use tests::sidecar::{Sidecar, SidecarOptions};
use tokio::time::timeout;

/// Longest wait for a condition, and for the answer to a request while Redis is away.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);

/// Output tokens of the key `ann`.
pub(super) const TOKENS: usize = 4000;

/// Characters of a token, until a turn has taught otherwise.
pub(super) const CHARS: usize = 4;

/// One Envoy before one sidecar, with its network to Redis.
pub(super) struct Replica {
    pub(super) envoy: Envoy,
    pub(super) sidecar: Sidecar,
    pub(super) network: CuttableNetwork,
}

/// The fleet. Drop order matters: no part loses its upstream.
pub(super) struct Fleet {
    pub(super) replicas: [Replica; 2],
    _model: ScriptedModel,
    pub(super) redis: Redis,
}

impl Fleet {
    /// Starts the fleet with a key `ann`, which has a budget, and keys `bob` and `eve` without one.
    pub(super) async fn start() -> Self {
        let redis = Redis::start().await;
        let model = ScriptedModel::start()
            .await
            .expect("a loopback port is free");
        let keys = json!([
            {"id": "ann", "key": "sk-key-of-ann-0000", "budget": format!("day.output={TOKENS}")},
            {"id": "bob", "key": "sk-key-of-bob-0000"},
            {"id": "eve", "key": "sk-key-of-eve-0000"},
        ]);
        let start = async || {
            let network = CuttableNetwork::start(&redis.socket());
            let sidecar = SidecarOptions::new(&model)
                .env("PROXY_STATE", &format!("redis://{}", network.address()))
                .env("PROXY_CONVERSATION_SECRET", "one for all")
                .env("PROXY_SSE_MAX_CONCURRENCY", "32")
                .env("PROXY_QUEUE_MAX", "64")
                .env("PROXY_QUEUE_TIMEOUT_MS", "60000")
                .start()
                .await;
            let options = EnvoyOptions::new(sidecar.socket()).filter("keys", keys.clone());
            let envoy = Envoy::start(options).await;
            Replica {
                envoy,
                sidecar,
                network,
            }
        };
        let replicas = [start().await, start().await];
        Self {
            replicas,
            _model: model,
            redis,
        }
    }

    pub(super) async fn send(&self, replica: usize, request: Request<Body>) -> BufferedResponse {
        let mut client = self.replicas[replica].envoy.connect(Version::H1).await;
        let response = timeout(DEADLINE, client.send(request)).await;
        response.expect("an answer in time").expect("a response")
    }

    /// Returns the limit of the key `ann`, as a replica reports it.
    pub(super) async fn limit(&self, replica: usize) -> Value {
        let usage = self.send(replica, keyed(get("/v1/usage"), "ann")).await;
        usage.json()["budget"][0].take()
    }
}

pub(super) fn keyed(request: Request<Body>, client: &str) -> Request<Body> {
    bearer(request, &format!("sk-key-of-{client}-0000"))
}

/// A chat with an answer of this many characters.
pub(super) fn chat(client: &str, chars: usize) -> Request<Body> {
    let text = "0123456789".repeat(chars.div_ceil(10));
    scripted(client, &json!([{"text": text, "delta_chars": 9}]))
}

/// A chat that the model answers as the script says.
pub(super) fn scripted(client: &str, script: &Value) -> Request<Body> {
    let message = json!({"role": "user", "content": format!("[[model:{script}]]")});
    let body = json!({"model": "codex-5", "stream": true, "messages": [message]});
    keyed(post("/v1/chat/completions", body.to_string()), client)
}

/// A request of a response that the model answers with `answer`.
pub(super) fn create(client: &str, answer: &str, previous: Option<&str>) -> Request<Body> {
    let input = format!("[[model:{}]]", json!([{"text": answer}]));
    let mut body = json!({"model": "codex-5", "input": input});
    if let Some(previous) = previous {
        body["previous_response_id"] = json!(previous);
    }
    keyed(post("/v1/responses", body.to_string()), client)
}

pub(super) fn retrieve(client: &str, id: &str) -> Request<Body> {
    keyed(get(&format!("/v1/responses/{id}")), client)
}

/// Returns the characters of a stream's text, and the finish reason.
pub(super) fn delivered(response: &BufferedResponse) -> (usize, String) {
    let body = String::from_utf8(response.body.to_vec()).expect("a stream is text");
    let events = body.lines().filter_map(|line| line.strip_prefix("data: "));
    let (mut chars, mut reason) = (0, String::new());
    for event in events.filter_map(|event| serde_json::from_str::<Value>(event).ok()) {
        let choice = &event["choices"][0];
        chars += choice["delta"]["content"]
            .as_str()
            .unwrap_or_default()
            .len();
        if let Some(finish) = choice["finish_reason"].as_str() {
            finish.clone_into(&mut reason);
        }
    }
    (chars, reason)
}
