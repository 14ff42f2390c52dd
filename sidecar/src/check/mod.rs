//! `sidecar --check`: whether it would start here and now, what is to be done if not, and what would run.
//! It asks what a start asks, in the same functions, but starts no worker, takes nothing that another sidecar has, and
//! leaves nothing behind.

mod codex;
mod places;
mod report;
mod variables;

use crate::codex::DryRun;
use crate::config::{Config, Setting};

pub use report::{Child, Finding, Report, Verdict};

/// Looks at everything that a start needs.
pub async fn check(config: &Config, settings: Vec<Setting>) -> Report {
    let rehearsal = DryRun::run(config).await;
    let mut findings = places::look(config).await;
    findings.extend(codex::judge(config, rehearsal.as_ref()));
    let names = std::env::vars_os().filter(|(_, value)| !value.is_empty());
    let names: Vec<_> = names
        .filter_map(|(name, _)| name.into_string().ok())
        .collect();
    findings.extend(variables::judge(&names, &config.env_passthrough));
    let mut catalogue = config.catalogue.clone();
    if let Ok(rehearsal) = &rehearsal {
        catalogue.learn_context_windows(rehearsal.launch().context_windows());
    }
    Report {
        findings,
        settings,
        catalogue,
        child: rehearsal.ok().and_then(|rehearsal| {
            let (command, variables) = rehearsal.child().ok()?;
            Some(Child { command, variables })
        }),
    }
}
