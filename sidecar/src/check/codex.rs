//! Checks of the Codex binary, its login, its sandbox, and the operator's files in CODEX_HOME.
//! A missing login is only a warning: the sidecar starts, reports that it is not ready, and notices a later login.

use std::net::IpAddr;
use std::path::Path;

use super::report::Diagnostic;
use super::report::Severity::{self, Fail, Pass, Warn};
use super::variables::PUBLIC_HOST;
use crate::codex::{
    ConfigToml, DryRun, HomeContents, LaunchError, Login, PERSONAL_LOGIN, Protocol,
};
use crate::config::{Config, SandboxMode};
use crate::error_chain;
use crate::turn::{Effort, Profile};

/// Checks the operator's files and the result of the dry run.
pub(super) fn check(config: &Config, dry_run: Result<&DryRun, &LaunchError>) -> Vec<Diagnostic> {
    let failed = |subject, error: &LaunchError| Diagnostic::new(Fail, subject, error_chain(error));
    let mut diagnostics = vec![match check_files(config) {
        Ok(()) => Diagnostic::new(Pass, "config.toml", provider(config)),
        Err(error) => failed("config.toml", &error),
    }];
    let login_file = Login::check_file(&config.codex_home);
    diagnostics.extend(
        login_file
            .as_ref()
            .err()
            .map(|error| failed("login", error)),
    );
    diagnostics.push(contents(&config.codex_home));
    match dry_run {
        Ok(dry_run) => {
            diagnostics.push(codex(config, dry_run));
            diagnostics.extend(models(dry_run));
            // An unreadable file is reported once, not a second time as a missing login.
            if login_file.is_ok() {
                diagnostics.push(login(config, dry_run));
            }
            diagnostics.push(sandbox(config, dry_run));
            diagnostics.push(memory(config));
        }
        Err(error) => diagnostics.push(failed("codex", error)),
    }
    diagnostics
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
        Some(forced) => format!("model provider {forced}"),
        None => "model provider OpenAI".to_owned(),
    }
}

/// Names the contents of the home that chats leave alone, so that an operator need not wonder why a setting is ignored.
fn contents(home: &Path) -> Diagnostic {
    let contents = HomeContents::read(home);
    let or_nothing = |names: String| {
        if names.is_empty() {
            "nothing".to_owned()
        } else {
            names
        }
    };
    let text = if contents.is_empty() {
        "CODEX_HOME extends neither chats nor agents".to_owned()
    } else {
        format!(
            "chats do not use: {}; agents use: {}",
            contents.unused_by_chats(),
            or_nothing(contents.used_by_agents())
        )
    };
    Diagnostic::new(Pass, "contents", text)
}

fn codex(config: &Config, dry_run: &DryRun) -> Diagnostic {
    let launch = dry_run.launch();
    let text = format!(
        "{}: version {}, protocol {}",
        config.codex_bin.display(),
        launch.version(),
        launch.protocol().as_str()
    );
    if launch.is_tested() {
        Diagnostic::new(Pass, "codex", text)
    } else {
        let note = "not tested with this release of codex-edge; the self-test passed";
        Diagnostic::new(Warn, "codex", format!("{text}; {note}"))
    }
}

/// Names the default model, and each id of `PROXY_MODELS` that no request can use.
fn models(dry_run: &DryRun) -> Vec<Diagnostic> {
    let catalogue = dry_run.launch().catalogue();
    let default = format!("{} is the default", catalogue.default_id());
    let unusable = catalogue.unusable().map(|id| {
        let names = |efforts: &[Effort]| {
            let names: Vec<_> = efforts.iter().map(Effort::as_str).collect();
            names.join(", ")
        };
        format!(
            "PROXY_MODELS: {} has the effort {}, but {} has {}",
            id.id,
            id.effort.map_or("", Effort::as_str),
            id.model,
            id.efforts.map(names).unwrap_or_default()
        )
    });
    let warnings = unusable.map(|text| Diagnostic::new(Warn, "models", text));
    std::iter::once(Diagnostic::new(Pass, "models", default))
        .chain(warnings)
        .collect()
}

fn login(config: &Config, dry_run: &DryRun) -> Diagnostic {
    let (severity, text) = match dry_run.login() {
        Login::NotNeeded => (Pass, "not required by the model provider".to_owned()),
        Login::Key => (Pass, "API key".to_owned()),
        Login::AccessToken => (Pass, "access token of a ChatGPT workspace".to_owned()),
        Login::ChatGpt => chatgpt(),
        Login::Missing => (
            Warn,
            login_instructions(&config.codex_home, &config.codex_bin),
        ),
        Login::Rejected(reason) => (
            Warn,
            format!(
                "Codex cannot use its credential: {}",
                dry_run.display_path(reason)
            ),
        ),
        Login::Unchecked => (Fail, "not checked".to_owned()),
        Login::Unknown(reason) => (Fail, dry_run.display_path(reason)),
    };
    Diagnostic::new(severity, "login", text)
}

/// Describes a ChatGPT login, and warns when others can reach the public listener.
fn chatgpt() -> (Severity, String) {
    let host = std::env::var(PUBLIC_HOST).unwrap_or_default();
    if is_public(&host) {
        let text = format!("ChatGPT login with {PUBLIC_HOST}={host}: {PERSONAL_LOGIN}");
        (Warn, text)
    } else {
        (Pass, "ChatGPT login".to_owned())
    }
}

/// Whether `host` is an address that other machines can reach; an unset variable means loopback.
fn is_public(host: &str) -> bool {
    let is_loopback = |address: IpAddr| address.is_loopback();
    !host.is_empty() && host != "localhost" && !host.parse().is_ok_and(is_loopback)
}

fn login_instructions(home: &Path, codex: &Path) -> String {
    let home = std::path::absolute(home).unwrap_or_else(|_| home.to_owned());
    let (home, codex) = (home.display(), codex.display());
    format!(
        "not logged in; the sidecar starts but is not ready until the operator runs `mkdir -p {home} && CODEX_HOME={home} {codex} login`"
    )
}

/// Names the limit on the memory of a child, and the means.
fn memory(config: &Config) -> Diagnostic {
    match config.limits.child_bytes {
        Some(bytes) => {
            let mib = bytes.get() >> 20;
            let text =
                format!("each child may allocate {mib} MiB, a limit of the kernel (RLIMIT_DATA)");
            Diagnostic::new(Pass, "memory", text)
        }
        None => {
            let text = "CODEX_CHILD_MAX_MIB=0: the memory of a child is not limited";
            Diagnostic::new(Warn, "memory", text)
        }
    }
}

/// Checks the sandbox, which only the agent profile requires. A key in the filter may select that profile, so the check
/// also runs with the default profile `chat`.
fn sandbox(config: &Config, dry_run: &DryRun) -> Diagnostic {
    let mode = config.sandbox_mode.as_str();
    let launch = dry_run.launch();
    let unsupported = match config.profile {
        Profile::Agent => Warn,
        Profile::Chat => Pass,
    };
    let (severity, text) = match launch.protocol() {
        Protocol::Proto => (
            unsupported,
            "requests with the agent profile are rejected; agents require Codex 0.169 or newer"
                .to_owned(),
        ),
        Protocol::AppServer if config.sandbox_mode == SandboxMode::DangerFullAccess => (
            Warn,
            format!("{mode}: agents have the full access of this user"),
        ),
        Protocol::AppServer if launch.hides_files_from_agents() => {
            let text = "is supported on this system, and hides CODEX_HOME, the logs and the folders of other turns";
            (Pass, format!("{mode} {text}"))
        }
        Protocol::AppServer if launch.accepts_agent_turns() => {
            let text = "is supported on this system, but agents can read CODEX_HOME, the logs, and each other's folders";
            (unsupported, format!("{mode} {text}"))
        }
        Protocol::AppServer => (
            unsupported,
            format!(
                "{mode} is not supported on this system; requests with the agent profile are rejected"
            ),
        ),
    };
    Diagnostic::new(severity, "sandbox", text)
}
