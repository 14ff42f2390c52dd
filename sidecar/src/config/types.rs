//! The configuration as the rest of the sidecar uses it: parsed, validated, with units in the types.

use std::fmt;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use super::listen::Listen;
use super::otel::OtelConfig;
use crate::catalogue::CatalogueSettings;
use crate::store::{StatePlace, StoreLimits};
use crate::turn::{ImageLimits, Profile, ToolBlockTail};

/// The validated configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address for connections from Envoy.
    pub listen: Listen,
    /// Address of metrics and the status page; `None` disables them.
    pub admin_listen: Option<Listen>,
    /// The usage log.
    pub usage_log: UsageLogConfig,
    /// Export of traces and metrics over OTLP; `None` disables it.
    pub otel: Option<OtelConfig>,
    /// Place of the ledger of budgets, and of what several sidecars share.
    pub state: StatePlace,
    /// File for each line between the sidecar and Codex; `None` disables the protocol log.
    pub protocol_log: Option<PathBuf>,
    /// Whether the endpoints for tests of a deployment are enabled.
    pub test_endpoints: bool,
    /// The Codex binary.
    pub codex_bin: PathBuf,
    /// Protocol to speak with Codex.
    pub protocol: ProtocolChoice,
    /// Codex's home directory, private to this sidecar.
    pub codex_home: PathBuf,
    /// Maximum size of the home directory, in bytes.
    pub codex_home_max_bytes: u64,
    /// A model provider from the `config.toml` in the home directory, instead of OpenAI.
    pub force_provider: Option<String>,
    /// Whether threads are rebuilt under the ids of their conversations.
    pub conversation_ids: bool,
    /// The secret of these ids; `None` uses a random one.
    pub conversation_secret: Option<Secret>,
    /// Working directory of the children; `None` uses a private temporary directory.
    pub workdir: Option<PathBuf>,
    /// Names of additional environment variables to pass to a child.
    pub env_passthrough: Vec<String>,
    /// Sandbox for the tools that Codex runs, as reported by `/healthz`.
    pub sandbox_mode: SandboxMode,
    /// Profile of clients with a key that selects none.
    pub profile: Profile,
    /// The operator's part of the models that clients may name.
    pub models: CatalogueSettings,
    /// Limits on turns and children.
    pub limits: Limits,
    /// Timeouts of a turn.
    pub timers: TimerConfig,
    /// Limits on the images of a request.
    pub images: ImageLimits,
    /// Limits on stored responses.
    pub responses: StoreLimits,
    /// The file of stored responses that outlive the sidecar; `None` keeps them in memory, or in the Redis of `state`.
    pub responses_file: Option<PathBuf>,
    /// Idle time of a stream after which a keepalive comment is sent; `None` disables keepalives.
    pub keepalive: Option<Duration>,
    /// Longest time that the head of a stream is held for the model's answer; `None` starts streams at once.
    pub stream_head: Option<Duration>,
    /// Whether a turn is interrupted when its client disconnects.
    pub kill_on_disconnect: bool,
    /// Maximum size of a prompt, in tokens estimated at four characters each; `None` leaves the limit to the model.
    pub max_prompt_tokens: Option<NonZeroU64>,
    /// Truncation of the text after `<use_tool>` blocks; `None` forwards all text.
    pub tool_tail: Option<ToolBlockTail>,
    /// Maximum size of a request body, in bytes.
    pub max_body_bytes: usize,
    /// Maximum memory of bodies and conversations that no child has yet, of all clients, in bytes.
    pub body_memory_bytes: usize,
    /// Time for running turns to finish after SIGTERM.
    pub drain: Duration,
    /// Whether `/v1/models` requires a key. The filter enforces this; the sidecar only marks the response `private`.
    pub protect_models: bool,
    /// Whether each request must name a model; otherwise a missing model becomes the default.
    pub require_model: bool,
}

/// A secret of the operator. It tells nothing about its value.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The protocol to speak with Codex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProtocolChoice {
    /// Select the protocol by the version of Codex.
    Auto,
    /// `codex app-server`, spoken by current versions.
    AppServer,
    /// `codex proto`, spoken by versions up to 0.42.
    Proto,
}

/// Permissions of the tools that Codex itself runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SandboxMode {
    /// Read files only.
    ReadOnly,
    /// Write to the working directory.
    WorkspaceWrite,
    /// Full access of the sidecar's user.
    DangerFullAccess,
}

impl SandboxMode {
    /// Returns the name of the mode in Codex's configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::WorkspaceWrite => "workspace-write",
            Self::DangerFullAccess => "danger-full-access",
        }
    }
}

/// The usage log: one record per turn.
#[derive(Debug, Clone)]
pub struct UsageLogConfig {
    /// Path of the log file.
    pub path: PathBuf,
    /// File size at which the log is rotated; `None` disables rotation.
    pub max_bytes: Option<NonZeroU64>,
}

/// Limits on turns, and the number of children that serve them.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Number of long-lived children.
    pub workers: NonZeroUsize,
    /// Limits after which a long-lived child is replaced.
    pub recycle: RecycleLimits,
    /// Number of idle `codex proto` children, each for one turn.
    pub proto_pool: NonZeroUsize,
    /// Maximum memory of a child, in bytes; `None` is unlimited.
    pub child_bytes: Option<NonZeroU64>,
    /// Limits on agents.
    pub agents: AgentLimits,
    /// Maximum number of concurrent turns; `None` is unlimited.
    pub turns: Option<NonZeroUsize>,
    /// Maximum number of concurrent turns of one client; `None` leaves one of `turns` to other active clients.
    pub client_turns: Option<NonZeroUsize>,
    /// Maximum number of queued requests.
    pub queue: usize,
    /// Maximum time that a request is queued.
    pub queue_timeout: Duration,
    /// Limits on threads that stay loaded.
    pub warm: WarmLimits,
}

/// Limits on the threads that stay loaded for the next request of their conversation.
#[derive(Debug, Clone, Copy)]
pub struct WarmLimits {
    /// Maximum number of threads of all children; `None` keeps none.
    pub threads: Option<NonZeroUsize>,
    /// Time after which a thread is given up.
    pub ttl: Duration,
    /// Maximum number of threads of a child that are started ahead.
    pub ahead: usize,
}

/// Limits on turns of the agent profile.
#[derive(Debug, Clone, Copy)]
pub struct AgentLimits {
    /// Maximum size of the folder of a turn, and of each file that an agent writes, in bytes; `None` is unlimited.
    pub folder_bytes: Option<NonZeroU64>,
    /// Maximum number of processes of a turn; `None` is unlimited.
    pub processes: Option<NonZeroUsize>,
    /// Maximum memory of the processes of a turn together, in bytes; `None` is unlimited.
    pub memory_bytes: Option<NonZeroU64>,
    /// Clients that may run agents at the same time.
    pub clients: AgentClients,
}

/// Clients that may run agents at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AgentClients {
    /// Those of any client where the sandbox hides the files of other turns, else those of one.
    Auto,
    /// Those of one client; others are rejected meanwhile.
    One,
    /// Those of any client, which can read each other's files.
    Any,
}

/// Limits after which a long-lived child is replaced, without interrupting its turns; `None` disables a limit.
#[derive(Debug, Clone, Copy)]
pub struct RecycleLimits {
    /// Number of turns that the child has started.
    pub turns: Option<NonZeroU64>,
    /// Time since the child was started.
    pub age: Option<Duration>,
    /// Resident memory of the child, in bytes.
    pub rss_bytes: Option<NonZeroU64>,
}

/// Timeouts of a turn; `None` disables a timeout.
#[derive(Debug, Clone, Copy)]
pub struct TimerConfig {
    /// Time for a whole request.
    pub request: Option<Duration>,
    /// Time for a whole request of the agent profile.
    pub agent_request: Option<Duration>,
    /// Time until the first event from the child.
    pub first_event: Option<Duration>,
    /// Idle time between events of a turn that is not streamed.
    pub buffered_idle: Option<Duration>,
    /// Idle time between events of a streamed turn.
    pub stream_idle: Option<Duration>,
}
