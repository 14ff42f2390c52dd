//! The settings of the sidecar that the suite compares, and the header that shows their effect.

use tests::scripted_model::ScriptedModel;
use tests::sidecar::SidecarOptions;

use crate::settings::Settings;

/// Response header with the kind of thread that served a request: `new`, `warm` or `resumed`.
pub(super) const THREAD_HEADER: &str = "x-codex-edge-thread";

/// Number of threads that stay loaded; 0 starts a thread for each request.
const WARM_THREADS: &str = "PROXY_WARM_THREADS";
/// Whether a thread that is gone is rebuilt under the id of its conversation.
const CONVERSATION_IDS: &str = "PROXY_CONVERSATION_IDS";
/// Secret from which ids of conversations are derived.
const CONVERSATION_SECRET: &str = "PROXY_CONVERSATION_SECRET";

/// Settings of a sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Variant {
    /// The default.
    WarmThreads,
    /// A new thread, with an id of its own, for each request.
    NewThreads,
    /// Warm threads without ids of conversations.
    WarmThreadsAlone,
}

impl Variant {
    /// The sidecar with these settings and the real Codex.
    pub(super) fn sidecar(self, settings: &Settings, model: &ScriptedModel) -> SidecarOptions {
        let options = settings
            .sidecar(model)
            // Without recycling: the processor time of a child that ended is lost.
            .env("CODEX_WORKER_MAX_TURNS", "0")
            .env(
                CONVERSATION_SECRET,
                "the-secret-that-all-replicas-of-the-run-share",
            );
        match self {
            Self::WarmThreads => options,
            Self::NewThreads => options
                .env(WARM_THREADS, "0")
                .env(CONVERSATION_IDS, "false"),
            Self::WarmThreadsAlone => options.env(CONVERSATION_IDS, "false"),
        }
    }
}
