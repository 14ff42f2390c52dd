//! Errors that keep Codex from starting, with messages for the operator.
//! Each message names the value found, and the value needed or the action to take.

use std::io;
use std::path::PathBuf;

use crate::codex::self_test::SelfTestError;

/// A condition that keeps Codex from starting.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// `CODEX_BIN` cannot be run.
    #[error(
        "CODEX_BIN={0} is not a program that can be run; install Codex (npm package @openai/codex) or name its path"
    )]
    NoBinary(PathBuf, #[source] io::Error),
    /// The program is not Codex, or a version of Codex with an unsupported protocol.
    #[error("CODEX_BIN={path} says its version is {found:?}; {needed} is needed")]
    Version {
        /// The value of `CODEX_BIN`.
        path: PathBuf,
        /// The first line of `--version`.
        found: String,
        /// The supported versions.
        needed: String,
    },
    /// An untested version does not respond to the sidecar's calls as the tested ones do.
    #[error(
        "CODEX_BIN={path} is codex-cli {version}, which this release of codex-edge was not tested with, and its self-test failed; install codex-cli {newest_tested}, or a newer codex-edge"
    )]
    SelfTest {
        /// The value of `CODEX_BIN`.
        path: PathBuf,
        /// Codex's version.
        version: String,
        /// The newest version that the tests run.
        newest_tested: String,
        /// The call that failed.
        #[source]
        source: SelfTestError,
    },
    /// The kernel cannot confine the children of `codex proto`.
    #[error(
        "this kernel has no Landlock (Linux 5.13), without which a model can run commands on this machine through Codex {version}; use codex-cli 0.169 or newer"
    )]
    NoLandlock {
        /// Codex's version.
        version: String,
        /// The cause.
        #[source]
        source: landlock::RulesetError,
    },
    /// Codex does not list its models.
    #[error("`codex debug models --bundled` failed: {0}")]
    Models(String),
    /// A folder or a file in it cannot be created.
    #[error("{0} cannot be used")]
    Folder(PathBuf, #[source] io::Error),
    /// A file in Codex's home cannot be read.
    #[error("{0} in CODEX_HOME cannot be read; it must be a file of the sidecar's user")]
    HomeFile(PathBuf, #[source] io::Error),
    /// `config.toml` is not valid.
    #[error("{path}, line {line}: {problem}; Codex would not start with it")]
    ConfigToml {
        /// Path of the file.
        path: PathBuf,
        /// Number of the first invalid line, from 1.
        line: usize,
        /// Message of the TOML parser.
        problem: String,
    },
    /// The forced provider is not defined.
    #[error(
        "CODEX_FORCE_PROVIDER={name}: {path} has no table [model_providers.{name}] with a `name`; write one, or unset the variable for OpenAI's"
    )]
    Provider {
        /// The value of `CODEX_FORCE_PROVIDER`.
        name: String,
        /// Path of `config.toml`.
        path: PathBuf,
    },
}
