//! What Codex is, what the operator's files in its home say, and what follows for turns.
//! A login that is missing is no fault: the sidecar starts, is not ready, and takes one that comes.

use std::path::Path;

use super::report::Finding;
use super::report::Verdict::{Fail, Fine, Warn};
use crate::codex::{ConfigToml, DryRun, LaunchError, Login, Protocol};
use crate::config::{Config, SandboxMode};
use crate::error_chain;
use crate::turn::Profile;

/// Judges the operator's files, and what the rehearsal came to.
pub(super) fn judge(config: &Config, rehearsal: Result<&DryRun, &LaunchError>) -> Vec<Finding> {
    let failed = |subject, error: &LaunchError| Finding::new(Fail, subject, error_chain(error));
    let mut findings = vec![match check_files(config) {
        Ok(()) => Finding::new(Fine, "config.toml", provider(config)),
        Err(error) => failed("config.toml", &error),
    }];
    let unreadable = Login::check_file(&config.codex_home);
    findings.extend(
        unreadable
            .as_ref()
            .err()
            .map(|error| failed("login", error)),
    );
    match rehearsal {
        Ok(rehearsal) => {
            findings.push(codex(config, rehearsal));
            if unreadable.is_ok() {
                findings.push(login(config, rehearsal));
            }
            findings.push(sandbox(config, rehearsal));
        }
        Err(error) => findings.push(failed("codex", error)),
    }
    findings
}

fn check_files(config: &Config) -> Result<(), LaunchError> {
    let toml = ConfigToml::read(&config.codex_home)?;
    match &config.force_provider {
        Some(forced) => toml.check_provider(&config.codex_home, forced),
        None => Ok(()),
    }
}

fn provider(config: &Config) -> String {
    match &config.force_provider {
        Some(forced) => format!("the provider {forced}, which it defines"),
        None => "OpenAI is the provider".to_owned(),
    }
}

fn codex(config: &Config, rehearsal: &DryRun) -> Finding {
    let launch = rehearsal.launch();
    let text = format!(
        "{} is {}, which speaks {}",
        config.codex_bin.display(),
        launch.version(),
        launch.protocol().as_str()
    );
    Finding::new(Fine, "codex", text)
}

fn login(config: &Config, rehearsal: &DryRun) -> Finding {
    let (verdict, text) = match rehearsal.login() {
        Login::NotNeeded => (Fine, "the provider asks for none".to_owned()),
        Login::Key => (Fine, "an API key".to_owned()),
        Login::ChatGpt => (Fine, "a ChatGPT plan".to_owned()),
        Login::Missing => (Warn, how_to_log_in(&config.codex_home, &config.codex_bin)),
        Login::Unknown(reason) => (Fail, rehearsal.display_path(reason)),
    };
    Finding::new(verdict, "login", text)
}

fn how_to_log_in(home: &Path, codex: &Path) -> String {
    let home = std::path::absolute(home).unwrap_or_else(|_| home.to_owned());
    let (home, codex) = (home.display(), codex.display());
    format!(
        "none: it starts and is not ready until somebody runs `mkdir -p {home} && CODEX_HOME={home} {codex} login`"
    )
}

/// Only turns of the agent profile need it; a key in the filter may ask for that profile.
fn sandbox(config: &Config, rehearsal: &DryRun) -> Finding {
    let mode = config.sandbox_mode.as_str();
    let launch = rehearsal.launch();
    let is_default = match config.profile {
        Profile::Agent => Warn,
        Profile::Chat => Fine,
    };
    let (verdict, text) = match launch.protocol() {
        Protocol::Proto => (
            is_default,
            "turns of the agent profile are refused: they need Codex 0.169 or newer".to_owned(),
        ),
        Protocol::AppServer if config.sandbox_mode == SandboxMode::DangerFullAccess => (
            Warn,
            format!("{mode}: agents may do whatever this user may"),
        ),
        Protocol::AppServer if launch.accepts_agent_turns() => {
            (Fine, format!("{mode} works here for agents"))
        }
        Protocol::AppServer => (
            is_default,
            format!("{mode} does not work here: turns of the agent profile are refused"),
        ),
    };
    Finding::new(verdict, "sandbox", text)
}
