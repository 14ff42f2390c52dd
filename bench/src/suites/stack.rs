//! Sidecar and Envoy as they ship, one behind the other, for the suites that measure the whole.
//! The configuration is that of `envoy/`, with the run's key.

use tests::envoy::{self, Envoy};
use tests::scripted_model::ScriptedModel;
use tests::sidecar::{self, Sidecar};

use crate::client::{Door, KEY};
use crate::usage;

/// A running stack. Fields are dropped in the order of a request's way.
#[derive(Debug)]
pub(super) struct Stack {
    pub(super) envoy: Envoy,
    pub(super) sidecar: Sidecar,
    pub(super) model: ScriptedModel,
}

/// What Envoy and sidecar have used of the processor, in microseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Used {
    pub(super) envoy: f64,
    pub(super) sidecar: f64,
    /// All of the sidecar's children together.
    pub(super) codex: f64,
}

impl Stack {
    pub(super) async fn start(sidecar: sidecar::Options, model: ScriptedModel) -> Self {
        let sidecar = sidecar.start().await;
        let options = quiet(envoy::Options::new(sidecar.socket())).env("PROXY_API_KEY", KEY);
        let envoy = Envoy::start(options).await;
        Self {
            envoy,
            sidecar,
            model,
        }
    }

    pub(super) fn door(&self) -> Door {
        Door::Tcp(self.envoy.address())
    }

    pub(super) fn used(&self) -> Used {
        let us = |pid| crate::stats::us(usage::cpu(pid));
        Used {
            envoy: us(self.envoy.pid()),
            sidecar: us(self.sidecar.pid()),
            codex: self.sidecar.children().into_iter().map(us).sum(),
        }
    }
}

impl Used {
    /// For each of so many requests since `before`.
    pub(super) fn per(self, before: Self, requests: usize) -> Self {
        let per = |now: f64, before: f64| (now - before) / crate::stats::count(requests.max(1));
        Self {
            envoy: per(self.envoy, before.envoy),
            sidecar: per(self.sidecar, before.sidecar),
            codex: per(self.codex, before.codex),
        }
    }
}

/// Writes the access log as it ships, but to nowhere: the reader of the pipe would be measured too.
pub(super) fn quiet(options: envoy::Options) -> envoy::Options {
    options.replace(
        "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog\n",
        "envoy.extensions.access_loggers.file.v3.FileAccessLog\n              path: /dev/null\n",
    )
}
