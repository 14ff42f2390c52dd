//! The chain that the storm passes over: real Envoy, real sidecar with two workers, real Codex, scripted model.
//! Limits and timers are turned down, so that queue, refusals and deadlines are met within seconds.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use crate::envoy::{self, Envoy};
use crate::processes;
use crate::scripted_model::ScriptedModel;
use crate::sidecar::{self, Sidecar};

/// The key of clients for whom Codex is a plain model.
pub(crate) const KEY: &str = "sk-a-key-of-the-chaos-run";

/// The key of clients for whom it is an agent.
pub(crate) const AGENT_KEY: &str = "sk-a-key-for-agents-of-the-chaos-run";

/// `PROXY_SSE_MAX_CONCURRENCY`.
pub(crate) const SLOTS: usize = 6;

/// `CODEX_WORKERS`.
pub(crate) const WORKERS: usize = 2;

/// Within this time every request that a client stays for has come to an end: Envoy's wait for a sidecar (20 s at
/// most), its wait in the queue (2 s), its turn (8 s), the last words of a sidecar that is told to stop (5 s).
pub(crate) const ANSWER_DEADLINE: Duration = Duration::from_secs(35);

/// Within this time a sidecar that is told to stop has ended: its drain (1.5 s), last words (5 s), and children that
/// must be killed (4 s); the rest is for a machine under load.
pub(crate) const STOP_DEADLINE: Duration = Duration::from_secs(20);

/// Small enough for a storm; stored responses soon take what memory they may. Agents sleep in the sandbox that ships.
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

/// The chain. Fields are dropped in the order of a request's way.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) envoy: Envoy,
    pub(crate) sidecar: Sidecar,
    pub(crate) model: ScriptedModel,
}

impl Chain {
    /// Starts it and waits until both workers are there.
    pub(crate) async fn start() -> Self {
        let model = ScriptedModel::start()
            .await
            .expect("a loopback port is free");
        let options = sidecar::Options::new(&model)
            .env("PROXY_SSE_MAX_CONCURRENCY", &SLOTS.to_string())
            .env("CODEX_WORKERS", &WORKERS.to_string());
        let settings = SETTINGS.into_iter();
        let options = settings.fold(options, |options, (name, value)| options.env(name, value));
        let sidecar = options.start().await;
        let agent = json!([{"id": "agent", "key": AGENT_KEY, "profile": "agent"}]);
        let options = envoy::Options::new(sidecar.socket())
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

    /// Descriptors that the sidecar has open.
    pub(crate) fn descriptors(&self) -> usize {
        self.sidecar.id().map_or(0, processes::descriptors)
    }
}

/// The pids of the sidecar's workers, oldest first; what it runs to look at Codex is none.
pub(crate) fn workers(sidecar: &Sidecar) -> Vec<i32> {
    let children = sidecar.children().into_iter();
    children
        .filter(|pid| processes::runs_with(*pid, "app-server"))
        .collect()
}
