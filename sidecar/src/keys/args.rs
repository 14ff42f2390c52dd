//! The command line of `sidecar key`.

use std::path::PathBuf;

use clap::{Args, Parser, ValueEnum};

/// Make API keys, and list and disable those of filter.yaml.
#[derive(Debug, Parser)]
#[command(name = "sidecar key")]
pub enum KeyCommand {
    /// Make a key, and print it once with the entry of filter.yaml that admits it
    New(NewArgs),
    /// List the keys of a filter.yaml
    List {
        /// The filter.yaml that Envoy watches
        file: PathBuf,
    },
    /// Disable a key; Envoy rejects its next request
    Disable {
        /// Name of the client
        #[arg(long)]
        id: String,
        /// The filter.yaml that Envoy watches
        #[arg(long, value_name = "FILE")]
        into: PathBuf,
    },
}

/// The arguments of `key new`.
#[derive(Debug, Args)]
pub struct NewArgs {
    /// Name of the client: its usage, its rate and its lines in the logs have it
    #[arg(long)]
    pub(super) id: String,
    /// Token budget, such as day=200000 or day=200000,month.output=5000000
    #[arg(long, value_name = "LIMITS")]
    pub(super) budget: Option<String>,
    /// Models that the key may use, such as '*-low'; may be repeated
    #[arg(long, value_name = "PATTERN")]
    pub(super) models: Vec<String>,
    /// Profile of the key
    #[arg(long)]
    pub(super) profile: Option<KeyProfile>,
    /// Time after which the key is rejected, such as 2027-01-31T00:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(super) expires_at: Option<String>,
    /// Let the key read the usage of all clients
    #[arg(long)]
    pub(super) admin: bool,
    /// Add the entry to this filter.yaml; Envoy takes it without a restart
    #[arg(long, value_name = "FILE")]
    pub(super) into: Option<PathBuf>,
}

/// The profile of a key.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum KeyProfile {
    Chat,
    Agent,
}
