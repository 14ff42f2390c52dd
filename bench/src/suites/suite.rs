//! The suites, one a question of the contract's section 11.
//! Each starts its peers itself and stops them when it is done.

use clap::ValueEnum;

use super::{chain, codex, envoy, overload, peers, sidecar};
use crate::Settings;
use crate::report::Section;

/// A suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Suite {
    /// Our filter in Envoy, beside none, native filters and Lua
    Envoy,
    /// The sidecar beside a bare reader of the same pipe
    Sidecar,
    /// Real Codex: a pool of children beside a process a request
    Codex,
    /// Envoy, sidecar and real Codex under more and more clients
    Chain,
    /// Ten times as many requests as can be served
    Overload,
    /// Others that do the same job
    Peers,
}

impl Suite {
    pub(crate) async fn run(self, settings: &Settings) -> anyhow::Result<Section> {
        match self {
            Self::Envoy => envoy::run(settings).await,
            Self::Sidecar => sidecar::run(settings).await,
            Self::Codex => codex::run(settings).await,
            Self::Chain => chain::run(settings).await,
            Self::Overload => overload::run(settings).await,
            Self::Peers => peers::run(settings).await,
        }
    }
}
