//! Envoy, the sidecar and the model, for the suites that measure the whole chain.
//!
//! Envoy has the configuration in `envoy/`, with the API key of the run.

use std::sync::Arc;

use tests::envoy::{self, Envoy};
use tests::scripted_model::ScriptedModel;
use tests::sidecar::{self, Sidecar};

use crate::client::{KEY, Target};
use crate::stats::{count, us};
use crate::usage;

/// A running stack. Fields are dropped in this order, so that no process loses its upstream before it stops.
#[derive(Debug)]
pub(super) struct Stack {
    pub(super) envoy: Envoy,
    pub(super) sidecar: Sidecar,
    /// Shared where several stacks have one provider.
    pub(super) model: Arc<ScriptedModel>,
}

/// Processor time of the processes of a stack, in microseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct CpuUsage {
    pub(super) envoy: f64,
    pub(super) sidecar: f64,
    /// Sum over the sidecar's children.
    pub(super) codex: f64,
}

impl Stack {
    pub(super) async fn start(
        sidecar: sidecar::SidecarOptions,
        model: impl Into<Arc<ScriptedModel>>,
    ) -> Self {
        Self::start_with(sidecar, model, |envoy| envoy.env("PROXY_API_KEY", KEY)).await
    }

    /// Starts a stack whose Envoy has the options that `change` returns; they must include the keys.
    pub(super) async fn start_with(
        sidecar: sidecar::SidecarOptions,
        model: impl Into<Arc<ScriptedModel>>,
        change: impl FnOnce(envoy::EnvoyOptions) -> envoy::EnvoyOptions,
    ) -> Self {
        let sidecar = sidecar.start().await;
        let options = discard_access_log(envoy::EnvoyOptions::new(sidecar.socket()));
        let envoy = Envoy::start(change(options)).await;
        Self {
            envoy,
            sidecar,
            model: model.into(),
        }
    }

    pub(super) fn target(&self) -> Target {
        Target::Tcp(self.envoy.address())
    }

    pub(super) fn cpu_usage(&self) -> CpuUsage {
        let used = |pid| us(usage::cpu_time(pid));
        CpuUsage {
            envoy: used(self.envoy.pid()),
            sidecar: used(self.sidecar.pid()),
            codex: self.sidecar.children().into_iter().map(used).sum(),
        }
    }
}

impl CpuUsage {
    /// Returns the usage per request, for `requests` requests since `before`.
    pub(super) fn per_request_since(self, before: Self, requests: usize) -> Self {
        let per_request = |now: f64, before: f64| (now - before) / count(requests.max(1));
        Self {
            envoy: per_request(self.envoy, before.envoy),
            sidecar: per_request(self.sidecar, before.sidecar),
            codex: per_request(self.codex, before.codex),
        }
    }
}

/// Sends the access log to `/dev/null`. Envoy still formats every line, but no process has to read the lines from a pipe
/// on the cores under test.
pub(super) fn discard_access_log(options: envoy::EnvoyOptions) -> envoy::EnvoyOptions {
    options.replace(
        "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog\n",
        "envoy.extensions.access_loggers.file.v3.FileAccessLog\n              path: /dev/null\n",
    )
}
