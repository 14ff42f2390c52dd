//! The chain under test: real Envoy, real sidecar with two workers of each profile, real Codex, scripted model.
//! Limits and timers are reduced, so that queue, rejections and deadlines occur within seconds.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use crate::envoy::{Envoy, EnvoyOptions};
use crate::http::{post, with};
use crate::processes;
use crate::scripted_model::ScriptedModel;
use crate::sidecar::{Sidecar, SidecarOptions};

/// The API key of clients with the chat profile.
pub(crate) const KEY: &str = "sk-a-key-of-the-chaos-run";

/// The API key of clients with the agent profile.
pub(crate) const AGENT_KEY: &str = "sk-a-key-for-agents-of-the-chaos-run";

/// The `x-request-id` of the requests with which the workers of agents are started.
pub(crate) const AGENTS_ID: &str = "start-of-the-agents";

/// `PROXY_SSE_MAX_CONCURRENCY`.
pub(crate) const MAX_TURNS: usize = 6;

/// `CODEX_WORKERS`, of each profile.
const PROFILE_WORKERS: usize = 2;

/// Workers of both profiles, which run once a client with the agent profile had a turn.
pub(crate) const WORKERS: usize = 2 * PROFILE_WORKERS;

/// Time within which every request of a connected client ends: Envoy's wait for a sidecar (20 s at most), the first start
/// of the workers of agents (10 s), the queue (2 s), the turn (8 s), the abort grace period of a draining sidecar (5 s).
pub(crate) const RESPONSE_DEADLINE: Duration = Duration::from_secs(45);

/// Time within which a sidecar exits after SIGTERM: its drain (1.5 s), abort grace period (5 s), and children that must be
/// killed (4 s); the rest is for a machine under load.
pub(crate) const STOP_DEADLINE: Duration = Duration::from_secs(20);

/// Small limits; stored responses soon reach their memory limit. Agents run in the sandbox that ships.
const SETTINGS: [(&str, &str); 9] = [
    ("PROXY_QUEUE_MAX", "3"),
    ("PROXY_QUEUE_TIMEOUT_MS", "2000"),
    ("PROXY_TIMEOUT_MS", "8000"),
    ("PROXY_IDLE_TIMEOUT_MS", "3000"),
    ("PROXY_STREAM_IDLE_TIMEOUT_MS", "4000"),
    ("PROXY_PROTO_IDLE_MS", "4000"),
    ("PROXY_DRAIN_MS", "1500"),
    ("PROXY_TEST_ENDPOINTS", "true"),
    ("PROXY_RESPONSES_MAX_MIB", "2"),
];

/// The running chain. Fields are dropped in the order in which a request passes them.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) envoy: Envoy,
    pub(crate) sidecar: Sidecar,
    pub(crate) model: ScriptedModel,
}

impl Chain {
    /// Starts the chain and waits until all workers run.
    pub(crate) async fn start() -> Self {
        let model = ScriptedModel::start()
            .await
            .expect("a loopback port is free");
        let options = SidecarOptions::new(&model)
            .env("PROXY_SSE_MAX_CONCURRENCY", &MAX_TURNS.to_string())
            // The check of the permits holds all of them as one client, among others that were active.
            .env("PROXY_CLIENT_MAX_CONCURRENCY", &MAX_TURNS.to_string())
            .env("CODEX_WORKERS", &PROFILE_WORKERS.to_string());
        let sidecar = SETTINGS
            .into_iter()
            .fold(options, |options, (name, value)| options.env(name, value))
            .start()
            .await;
        // Before Envoy starts, so that this connection is closed when descriptors are counted.
        start_agents(&sidecar).await;
        let agent = json!([{"id": "agent", "key": AGENT_KEY, "profile": "agent"}]);
        let options = EnvoyOptions::new(sidecar.socket())
            .env("PROXY_API_KEY", KEY)
            .filter("keys", agent);
        let envoy = Envoy::start(options).await;
        while workers(&sidecar).len() < WORKERS {
            sleep(Duration::from_millis(20)).await;
        }
        Self {
            envoy,
            sidecar,
            model,
        }
    }

    /// The number of open descriptors of the sidecar.
    pub(crate) fn descriptors(&self) -> usize {
        self.sidecar.id().map_or(0, processes::descriptors)
    }
}

/// Has a turn of an agent, with which the sidecar starts the workers of agents.
pub(crate) async fn start_agents(sidecar: &Sidecar) {
    let body = r#"{"model": "codex-5", "messages": [{"role": "user", "content": "Hi."}]}"#;
    let request = with(
        post("/v1/chat/completions", body),
        "x-codex-edge-profile",
        "agent",
    );
    let request = with(request, "x-request-id", AGENTS_ID);
    let mut client = sidecar.connect().await;
    let response = client.send(request).await.expect("a response arrives");
    assert_eq!(response.status, 200, "{response:?}");
}

/// The pids of the sidecar's workers, oldest first, without short-lived processes such as `codex --version`.
pub(crate) fn workers(sidecar: &Sidecar) -> Vec<i32> {
    sidecar
        .children()
        .into_iter()
        .filter(|pid| processes::has_argument(*pid, "app-server"))
        .collect()
}
