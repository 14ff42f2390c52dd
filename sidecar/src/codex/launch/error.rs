//! Why no Codex can be started, in words for the operator.
//! Each names what was found and what is needed.

use std::io;
use std::path::PathBuf;

/// Why no Codex can be started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// There is no such program.
    #[error(
        "CODEX_BIN={0} is not a program that can be run; install Codex (npm package @openai/codex) or name its path"
    )]
    NoBinary(PathBuf, #[source] io::Error),
    /// The program is no Codex, or one that we do not know how to talk to.
    #[error("CODEX_BIN={path} says its version is {found:?}; {needed} is needed")]
    Version {
        /// What `CODEX_BIN` names.
        path: PathBuf,
        /// The first line of `--version`.
        found: String,
        /// The versions that will do.
        needed: String,
    },
    /// What keeps a model from running commands is not there.
    #[error(
        "this kernel has no Landlock (Linux 5.13), without which a model can run commands on this machine through Codex {version}; use codex-cli 0.169 or newer"
    )]
    Unconfined {
        /// Codex's version.
        version: String,
        /// Why.
        #[source]
        source: landlock::RulesetError,
    },
    /// The program does not list its models.
    #[error("`codex debug models --bundled` failed: {0}")]
    Models(String),
    /// A folder cannot be used.
    #[error("{0} cannot be used")]
    Folder(PathBuf, #[source] io::Error),
    /// A file of Codex's home cannot be read.
    #[error("{0} in CODEX_HOME cannot be read; it must be a file of the sidecar's user")]
    Home(PathBuf, #[source] io::Error),
    /// Codex's configuration is none.
    #[error("{path}, line {line}: {problem}; Codex would not start with it")]
    ConfigToml {
        /// The file.
        path: PathBuf,
        /// The first line that is wrong, from 1.
        line: usize,
        /// Why.
        problem: String,
    },
    /// The provider that is forced is not defined.
    #[error(
        "CODEX_FORCE_PROVIDER={name}: {path} has no table [model_providers.{name}] with a `name`; write one, or unset the variable for OpenAI's"
    )]
    Provider {
        /// What was forced.
        name: String,
        /// Where it should be.
        path: PathBuf,
    },
}
