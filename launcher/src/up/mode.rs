//! Live or demo mode, and the Codex home of each.
//! The sources are `codex login status` and Codex's `config.toml` (`model_providers`).

use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::login::LoginKind;
use crate::command::bound_to_parent;
use crate::program::absolute;
use crate::report;

/// The provider behind Codex.
#[derive(Debug)]
pub enum Mode {
    /// The provider of the account in this Codex home.
    Live {
        /// Folder with the login.
        codex_home: PathBuf,
        /// The credential of the login.
        login: LoginKind,
    },
    /// The scripted model on loopback.
    Demo,
}

impl Mode {
    /// Live if Codex is logged in in `CODEX_HOME` or else `home`; otherwise prints how to log in, and returns the demo mode.
    pub(crate) fn of_login(codex: &Path, home: PathBuf) -> Self {
        let codex_home = match env::var_os("CODEX_HOME").filter(|home| !home.is_empty()) {
            Some(home) => absolute(home.into()),
            None => home,
        };
        let mut status = Command::new(codex);
        status
            .args(["login", "status"])
            .env("CODEX_HOME", &codex_home);
        // The command fails when Codex has no credential, and writes to stderr.
        let output = bound_to_parent(&mut status, Signal::SIGTERM)
            .stdin(Stdio::null())
            .output();
        if let Ok(output) = output
            && output.status.success()
        {
            let text = [output.stdout, output.stderr].concat();
            let login = LoginKind::parse(&String::from_utf8_lossy(&text));
            return Self::Live { codex_home, login };
        }
        let (home, codex) = (codex_home.display(), codex.display());
        report!(
            "Codex is not logged in in {home}: starting in demo mode. For live mode, log in and start again:"
        );
        report!("  mkdir -p {home} && CODEX_HOME={home} {codex} login");
        Self::Demo
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Live { codex_home, login } => {
                write!(
                    f,
                    "live, with the login in {} ({login})",
                    codex_home.display()
                )
            }
            Self::Demo => f.write_str("demo: the real Codex, answered by a scripted model"),
        }
    }
}

/// Creates the Codex home `home` with a provider `demo`, which is the scripted model at `base_url`.
pub(super) fn write_demo_home(home: &Path, base_url: &str) -> Result<()> {
    fs::create_dir(home).with_context(|| format!("cannot create {}", home.display()))?;
    let config = format!(
        "[model_providers.demo]\nname = \"demo\"\nbase_url = \"{base_url}\"\nwire_api = \"responses\"\n"
    );
    fs::write(home.join("config.toml"), config)
        .context("cannot write the demo's Codex configuration")
}

/// The base URL in the scripted model's first line.
pub(super) fn announced_url(line: &str) -> Option<&str> {
    line.strip_prefix("listening on ").map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_is_read_from_the_first_line_of_the_model() {
        let url = announced_url("listening on http://127.0.0.1:4000/v1");
        assert_eq!(url, Some("http://127.0.0.1:4000/v1"));
        assert_eq!(announced_url("error: address in use"), None);
    }

    #[test]
    fn the_demo_home_names_the_model_as_provider() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        write_demo_home(&home, "http://127.0.0.1:4000/v1").unwrap();
        let config = fs::read_to_string(home.join("config.toml")).unwrap();
        assert!(
            config.contains("base_url = \"http://127.0.0.1:4000/v1\"\n"),
            "{config}"
        );
    }
}
