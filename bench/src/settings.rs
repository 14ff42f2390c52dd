//! How long and how often is measured, and with which builds.
//! A quick run shows that the harness works; its numbers mean nothing.

use std::path::PathBuf;
use std::time::Duration;

use tests::scripted_model::ScriptedModel;
use tests::sidecar;

/// How a run is made.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A smoke run: one round, little load.
    pub quick: bool,
    /// Rounds of which medians are taken.
    pub rounds: usize,
    /// Whether Envoy's instructions are counted too, which takes minutes and valgrind.
    pub instructions: bool,
    /// The sidecar's release build; that of the tests by default.
    pub sidecar: Option<PathBuf>,
    /// The stand-in for Codex.
    pub instant_codex: PathBuf,
    /// The Python whose environment has the peers.
    pub peers: Option<PathBuf>,
}

impl Settings {
    /// The rounds of this run.
    pub(crate) fn rounds(&self) -> usize {
        self.pick(self.rounds, 1)
    }

    /// The first in a real run, the second in a smoke run.
    pub(crate) fn pick<T>(&self, real: T, quick: T) -> T {
        if self.quick { quick } else { real }
    }

    /// How long one variant is under load before it is the next one's turn.
    pub(crate) fn slice(&self) -> Duration {
        self.pick(Duration::from_secs(2), Duration::from_millis(150))
    }

    /// The sidecar as it ships, with the real Codex.
    pub(crate) fn sidecar(&self, model: &ScriptedModel) -> sidecar::SidecarOptions {
        let options = sidecar::SidecarOptions::new(model).env("RUST_LOG", "info");
        match &self.sidecar {
            Some(program) => options.program(program.clone()),
            None => options,
        }
    }

    /// The sidecar with a child that answers at once, and no limit on turns.
    pub(crate) fn instant_sidecar(&self, model: &ScriptedModel) -> sidecar::SidecarOptions {
        self.sidecar(model)
            .env("CODEX_BIN", &self.instant_codex.to_string_lossy())
            .env("PROXY_SSE_MAX_CONCURRENCY", "0")
            .env("CODEX_WORKER_MAX_TURNS", "0")
    }
}
