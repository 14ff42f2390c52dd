//! The chain under test: real Envoy, real sidecar with two workers, real Codex, scripted model.
//! Limits and timers are reduced, so that queue, rejections and deadlines occur within seconds.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use crate::envoy::{Envoy, EnvoyOptions};
use crate::processes;
use crate::scripted_model::ScriptedModel;
use crate::sidecar::{Sidecar, SidecarOptions};

/// The API key of clients with the chat profile.
pub(crate) const KEY: &str = "sk-a-key-of-the-chaos-run";

/// The API key of clients with the agent profile.
pub(crate) const AGENT_KEY: &str = "sk-a-key-for-agents-of-the-chaos-run";

/// `PROXY_SSE_MAX_CONCURRENCY`.
pub(crate) const MAX_TURNS: usize = 6;

/// `CODEX_WORKERS`.
pub(crate) const WORKERS: usize = 2;

/// Time within which every request of a connected client ends: Envoy's wait for a sidecar (20 s at most), the queue (2 s),
/// the turn (8 s), the abort grace period of a draining sidecar (5 s).
pub(crate) const RESPONSE_DEADLINE: Duration = Duration::from_secs(35);

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
    /// Starts the chain and waits until both workers run.
    pub(crate) async fn start() -> Self {
        let model = ScriptedModel::start()
            .await
            .expect("a loopback port is free");
        let options = SidecarOptions::new(&model)
            .env("PROXY_SSE_MAX_CONCURRENCY", &MAX_TURNS.to_string())
            .env("CODEX_WORKERS", &WORKERS.to_string());
        let sidecar = SETTINGS
            .into_iter()
            .fold(options, |options, (name, value)| options.env(name, value))
            .start()
            .await;
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

/// The pids of the sidecar's workers, oldest first, without short-lived processes such as `codex --version`.
pub(crate) fn workers(sidecar: &Sidecar) -> Vec<i32> {
    sidecar
        .children()
        .into_iter()
        .filter(|pid| processes::has_argument(*pid, "app-server"))
        .collect()
}
