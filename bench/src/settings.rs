//! Duration and repetition of the measurements, and the builds under test.

use std::path::PathBuf;
use std::time::Duration;

use tests::scripted_model::ScriptedModel;
use tests::sidecar;

/// Settings of a run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whether the run is a smoke test of the harness: one round with little load, and meaningless numbers.
    pub quick: bool,
    /// Number of rounds; tables have the medians.
    pub rounds: usize,
    /// Whether Envoy's instructions are counted too, which needs Valgrind and takes minutes.
    pub instructions: bool,
    /// Release build of the sidecar; by default the build of the tests.
    pub sidecar: Option<PathBuf>,
    /// The stand-in for Codex.
    pub instant_codex: PathBuf,
    /// Python interpreter of the environment with the peers.
    pub peers: Option<PathBuf>,
}

impl Settings {
    /// Number of rounds of this run.
    pub(crate) fn rounds(&self) -> usize {
        self.pick(self.rounds, 1)
    }

    /// Returns `full`, or `quick` in a smoke test.
    pub(crate) fn pick<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    /// Time under load of one variant before the next variant follows.
    pub(crate) fn slice(&self) -> Duration {
        self.pick(Duration::from_secs(2), Duration::from_millis(150))
    }

    /// The sidecar with its default settings and the real Codex.
    pub(crate) fn sidecar(&self, model: &ScriptedModel) -> sidecar::SidecarOptions {
        // The default of a deployment; the tests log more.
        let options = sidecar::SidecarOptions::new(model).env("RUST_LOG", "info");
        match &self.sidecar {
            Some(program) => options.program(program.clone()),
            None => options,
        }
    }

    /// The sidecar with the stand-in for Codex, and without a limit on turns.
    pub(crate) fn instant_sidecar(&self, model: &ScriptedModel) -> sidecar::SidecarOptions {
        self.sidecar(model)
            .env("CODEX_BIN", &self.instant_codex.to_string_lossy())
            .env("PROXY_SSE_MAX_CONCURRENCY", "0")
            // Without recycling, which would start a new child in the middle of a measurement.
            .env("CODEX_WORKER_MAX_TURNS", "0")
    }
}
