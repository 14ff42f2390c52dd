//! Flags and environment -> validated `Config`. Every flag has a variable of the same name; an empty variable is unset.
//! The names are those of the contract, which keeps those of the Node proxy where their meaning is the same.

mod args;
mod help;
#[cfg(test)]
mod page;
mod settings;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{FromArgMatches, ValueEnum};

pub use settings::{Setting, Source, variables};

use crate::catalogue::Catalogue;
use crate::store::StoreLimits;
use crate::turn::{Profile, ToolBlockTail};

/// The configuration, valid as a whole.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where Envoy reaches us.
    pub listen: Listen,
    /// Where its operator reaches us, for metrics and the status page; nowhere when absent.
    pub admin_listen: Option<Listen>,
    /// The log of what each turn cost.
    pub usage_log: UsageLogConfig,
    /// Where each line between us and Codex is logged; nowhere when absent.
    pub protocol_log: Option<PathBuf>,
    /// Whether routes for tests of the deployment answer.
    pub test_endpoints: bool,
    /// The Codex binary.
    pub codex_bin: PathBuf,
    /// What to speak with it.
    pub protocol: ProtocolChoice,
    /// Codex's home, private to us.
    pub codex_home: PathBuf,
    /// What may gather in it, in bytes.
    pub codex_home_max_bytes: u64,
    /// A provider of that home's `config.toml`, instead of our own.
    pub force_provider: Option<String>,
    /// The children's working directory; a private one when absent.
    pub workdir: Option<PathBuf>,
    /// Names of further variables that a child gets.
    pub env_passthrough: Vec<String>,
    /// The sandbox of Codex's own tools, as `/healthz` shows it.
    pub sandbox_mode: SandboxMode,
    /// What Codex is for clients whose key does not say.
    pub profile: Profile,
    /// The models that clients may name.
    pub catalogue: Catalogue,
    /// How many turns there may be.
    pub limits: Limits,
    /// How long they may take.
    pub timers: TimerConfig,
    /// How many responses are kept for the clients that may come back to them.
    pub responses: StoreLimits,
    /// Silence of a stream after which a comment is sent; `None` sends none.
    pub keepalive: Option<Duration>,
    /// Whether a client that leaves ends its turn.
    pub kill_on_disconnect: bool,
    /// Largest prompt, in tokens at four characters each; `None` leaves it to the model.
    pub max_prompt_tokens: Option<NonZeroU64>,
    /// What becomes of text behind `<use_tool>` blocks; `None` forwards it.
    pub tool_tail: Option<ToolBlockTail>,
    /// Largest request body, in bytes.
    pub max_body_bytes: usize,
    /// Time that running turns have after SIGTERM.
    pub drain: Duration,
    /// Whether `/v1/models` is for key holders only, which the filter decides; here it makes the answer private.
    pub protect_models: bool,
    /// Whether each request has to name a model; without one it gets the default.
    pub require_model: bool,
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Wish {
    /// To serve.
    Serve(Config),
    /// To say whether that would work, and what each flag came to.
    Check(Config, Vec<Setting>),
}

impl Wish {
    /// Reads arguments and environment.
    ///
    /// # Errors
    /// A value that cannot be used, named; or a wish for help or the version.
    pub fn from_args(args: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let matches = args::command().try_get_matches_from(args)?;
        let raw = args::Raw::from_arg_matches(&matches)?;
        Ok(if raw.check {
            Self::Check(raw.into(), settings::read(&matches))
        } else {
            Self::Serve(raw.into())
        })
    }
}

impl Config {
    /// The names that Codex is asked for, without repetition.
    pub fn codex_models(&self) -> Vec<String> {
        self.catalogue.codex_models()
    }
}

/// Where the sidecar listens. It trusts whoever reaches it, so nothing but this machine may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// A Unix socket, mode 0660.
    Unix(PathBuf),
    /// A loopback address.
    Loopback(SocketAddr),
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(path.into()));
        }
        match text.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => Ok(Self::Loopback(address)),
            Ok(_) => Err("the sidecar trusts whoever reaches it: only a loopback address or unix:/path will do".into()),
            Err(_) => Err("expected unix:/path/to/socket or a loopback address such as 127.0.0.1:8787".into()),
        }
    }
}

/// What to speak with Codex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProtocolChoice {
    /// What its version speaks.
    Auto,
    /// `codex app-server`, which current versions speak.
    AppServer,
    /// `codex proto`, which versions up to 0.42 speak.
    Proto,
}

/// What Codex's own tools may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SandboxMode {
    /// Read files, nothing else.
    ReadOnly,
    /// Write in the working directory.
    WorkspaceWrite,
    /// Anything that the sidecar's user may do.
    DangerFullAccess,
}

impl SandboxMode {
    /// Codex's own word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::WorkspaceWrite => "workspace-write",
            Self::DangerFullAccess => "danger-full-access",
        }
    }
}

/// The log of what each turn cost.
#[derive(Debug, Clone)]
pub struct UsageLogConfig {
    /// The file.
    pub path: PathBuf,
    /// Its size at which it is put aside, in place of the one before; `None` lets it grow.
    pub max_bytes: Option<NonZeroU64>,
}

/// How many turns there may be, and how many children serve them.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Long-lived children.
    pub workers: NonZeroUsize,
    /// How long each of them serves.
    pub wear: RecycleLimits,
    /// Children of one turn that are started ahead.
    pub proto_pool: NonZeroUsize,
    /// Turns at once; `None` is without limit.
    pub turns: Option<NonZeroUsize>,
    /// Requests that may wait for a slot.
    pub queue: usize,
    /// How long each of them waits.
    pub queue_timeout: Duration,
}

/// When a long-lived child is replaced, without cutting a turn; `None` is never.
#[derive(Debug, Clone, Copy)]
pub struct RecycleLimits {
    /// Turns that it has begun.
    pub turns: Option<NonZeroU64>,
    /// Time since it was started.
    pub age: Option<Duration>,
    /// Memory that it holds, in bytes.
    pub rss_bytes: Option<NonZeroU64>,
}

/// How long turns may take; `None` is for ever.
#[derive(Debug, Clone, Copy)]
pub struct TimerConfig {
    /// A whole request.
    pub request: Option<Duration>,
    /// Silence before the child's first sign of life.
    pub first_sign: Option<Duration>,
    /// Silence of a turn whose answer is gathered.
    pub gathered_silence: Option<Duration>,
    /// Silence of a turn whose answer is streamed.
    pub streamed_silence: Option<Duration>,
}
