//! The checks in the order of a start.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::report::{CheckReport, ChildCommand, Diagnostic};
use super::{codex, resources, state, variables};
use crate::codex::DryRun;
use crate::config::{Config, Setting};

/// Checks everything that a start requires.
pub async fn run(config: &Config, settings: Vec<Setting>) -> CheckReport {
    let dry_run = DryRun::run(config).await;
    let mut diagnostics = resources::check(config).await;
    diagnostics.extend(state::check(config).await);
    diagnostics.extend(codex::check(config, dry_run.as_ref()));
    diagnostics.extend(check_environment(config));
    CheckReport {
        diagnostics,
        settings,
        catalogue: dry_run
            .as_ref()
            .ok()
            .map(|dry_run| dry_run.launch().catalogue()),
        child: dry_run.ok().and_then(|dry_run| {
            let (command, variables) = dry_run.child().ok()?;
            Some(ChildCommand { command, variables })
        }),
    }
}

/// Checks the environment variables that are set, also those of the filter; an empty variable counts as unset.
fn check_environment(config: &Config) -> Vec<Diagnostic> {
    let set: BTreeMap<_, _> = std::env::vars_os()
        .filter(|(_, value)| !value.is_empty())
        .filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.to_string_lossy().into()))
        })
        .collect();
    let names: Vec<_> = set.keys().cloned().collect();
    let mut diagnostics = variables::check(&names, &config.env_passthrough);
    diagnostics.extend(variables::check_filter(&set, SystemTime::now()));
    diagnostics
}
