//! The list of suites.

use clap::ValueEnum;

use super::{
    abuse, budgets, chain, codex, conversations, envoy, overload, peers, sidecar, tracing,
};
use crate::report::Section;
use crate::settings::Settings;

/// A suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Suite {
    /// The filter in Envoy, compared with no filter, native filters and Lua
    Envoy,
    /// The sidecar, compared with a bare loop over the same pipe
    Sidecar,
    /// The export of traces and metrics, on and off
    Tracing,
    /// Real Codex: a pool of children, compared with a process per request
    Codex,
    /// Envoy, sidecar and real Codex with an increasing number of clients
    Chain,
    /// Conversations of several requests: cached input, first token, Codex's processor time
    Conversations,
    /// Ten times more requests than the sidecar can serve
    Overload,
    /// Attacks of one key beside another client
    Abuse,
    /// Keys with a budget: the end of their streams, and the processor time of a delta
    Budgets,
    /// Other gateways for the Codex CLI
    Peers,
}

impl Suite {
    pub(crate) async fn run(self, settings: &Settings) -> anyhow::Result<Section> {
        match self {
            Self::Envoy => envoy::run(settings).await,
            Self::Sidecar => sidecar::run(settings).await,
            Self::Tracing => tracing::run(settings).await,
            Self::Codex => codex::run(settings).await,
            Self::Chain => chain::run(settings).await,
            Self::Conversations => conversations::run(settings).await,
            Self::Overload => overload::run(settings).await,
            Self::Abuse => abuse::run(settings).await,
            Self::Budgets => budgets::run(settings).await,
            Self::Peers => peers::run(settings).await,
        }
    }
}
