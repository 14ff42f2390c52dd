//! Flags and environment -> validated `Config`. Every flag has a variable of the same name; an empty variable is unset.
//! The names are those of the contract, which keeps those of the Node proxy where their meaning is the same.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser, ValueEnum};

use crate::catalogue::{Catalogue, ModelOverride};
use crate::response_store::StoreLimits;
use crate::turn::{Profile, ToolTail};

/// The configuration, valid as a whole.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where Envoy reaches us.
    pub listen: Listen,
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
    pub tool_tail: Option<ToolTail>,
    /// Largest request body, in bytes.
    pub max_body_bytes: usize,
    /// Time that running turns have after SIGTERM.
    pub drain: Duration,
    /// Whether `/v1/models` is for key holders only, which the filter decides; here it makes the answer private.
    pub protect_models: bool,
    /// Whether each request has to name a model; without one it gets the default.
    pub require_model: bool,
}

impl Config {
    /// Reads arguments and environment.
    ///
    /// # Errors
    /// A value that cannot be used, named; or a wish for help or the version.
    pub fn from_args(args: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let matches = command().try_get_matches_from(args)?;
        Ok(Self::from(Raw::from_arg_matches(&matches)?))
    }

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

/// How many turns there may be, and how many children serve them.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Long-lived children.
    pub workers: NonZeroUsize,
    /// How long each of them serves.
    pub wear: Wear,
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
pub struct Wear {
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

#[derive(Debug, Parser)]
#[command(
    name = "sidecar",
    version,
    about = "Owns the Codex child processes of codex-edge and answers OpenAI-shaped requests that Envoy lets through."
)]
struct Raw {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    codex: CodexArgs,
    #[command(flatten)]
    workers: WorkerArgs,
    #[command(flatten)]
    models: ModelArgs,
    #[command(flatten)]
    turns: TurnArgs,
    #[command(flatten)]
    tool_tail: ToolTailArgs,
    #[command(flatten)]
    responses: ResponseArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Server")]
struct ServerArgs {
    /// Where Envoy reaches the sidecar: unix:/path (mode 0660) or a loopback address.
    #[arg(
        long,
        env = "SIDECAR_LISTEN",
        value_name = "ADDRESS",
        default_value = "unix:/run/codex-edge/sidecar.sock"
    )]
    listen: Listen,
    /// Largest request body, in bytes; Envoy has a limit of its own.
    #[arg(long, env = "PROXY_MAX_BODY_BYTES", value_name = "BYTES", default_value_t = 16 << 20)]
    max_body_bytes: usize,
    /// Silence of a stream, in milliseconds, after which a `: keepalive` comment is sent; 0 sends none.
    #[arg(
        long,
        env = "PROXY_SSE_KEEPALIVE_MS",
        value_name = "MS",
        default_value = "15000"
    )]
    sse_keepalive_ms: Timer,
    /// Time that running turns have after SIGTERM, in milliseconds.
    #[arg(
        long,
        env = "PROXY_DRAIN_MS",
        value_name = "MS",
        default_value_t = 30_000
    )]
    drain_ms: u64,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Codex")]
struct CodexArgs {
    /// The Codex binary: a path, or a name that is looked up in PATH.
    #[arg(long, env = "CODEX_BIN", value_name = "PATH", default_value = "codex")]
    codex_bin: PathBuf,
    /// What to speak with Codex; `auto` asks it for its version.
    #[arg(
        long,
        env = "CODEX_PROTOCOL",
        value_name = "PROTOCOL",
        default_value = "auto",
        ignore_case = true
    )]
    codex_protocol: ProtocolChoice,
    /// Codex's home with its login; made private (0700), and used by nobody else.
    #[arg(
        long,
        env = "CODEX_HOME",
        value_name = "FOLDER",
        default_value = ".codex-api"
    )]
    codex_home: PathBuf,
    /// What may gather in Codex's home, in MiB; the oldest sessions and logs go first.
    #[arg(
        long,
        env = "CODEX_HOME_MAX_MIB",
        value_name = "MIB",
        default_value_t = 256
    )]
    codex_home_max_mib: u64,
    /// A model provider that CODEX_HOME/config.toml defines, instead of OpenAI's.
    #[arg(long, env = "CODEX_FORCE_PROVIDER", value_name = "NAME", value_parser = parse_provider)]
    codex_force_provider: Option<String>,
    /// Names of further variables that a Codex child gets, separated by commas.
    #[arg(
        long,
        env = "CODEX_ENV_PASSTHROUGH",
        value_name = "NAMES",
        value_delimiter = ','
    )]
    codex_env_passthrough: Vec<String>,
    /// Working directory of the children; by default a private one that is removed afterwards.
    #[arg(long, env = "PROXY_CODEX_WORKDIR", value_name = "FOLDER")]
    codex_workdir: Option<PathBuf>,
    /// Sandbox of Codex's own tools.
    #[arg(
        long,
        env = "PROXY_SANDBOX_MODE",
        value_name = "MODE",
        default_value = "read-only",
        ignore_case = true
    )]
    sandbox_mode: SandboxMode,
    /// What Codex is for clients whose key does not say: a plain model, or an agent with its tools in the sandbox.
    #[arg(
        long,
        env = "CODEX_PROFILE",
        value_name = "PROFILE",
        default_value = "chat",
        ignore_case = true
    )]
    codex_profile: ProfileArg,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ProfileArg {
    Chat,
    Agent,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Workers")]
struct WorkerArgs {
    /// Long-lived Codex children; each serves many turns at once.
    #[arg(
        long,
        env = "CODEX_WORKERS",
        value_name = "CHILDREN",
        default_value = "1"
    )]
    codex_workers: NonZeroUsize,
    /// Children of `codex proto` that are started ahead and wait; each serves one turn.
    #[arg(
        long,
        env = "CODEX_PROTO_POOL",
        value_name = "CHILDREN",
        default_value = "2"
    )]
    codex_proto_pool: NonZeroUsize,
    /// Turns after which a child is replaced; 0 is never, here and below. No turn is cut for it.
    #[arg(
        long,
        env = "CODEX_WORKER_MAX_TURNS",
        value_name = "TURNS",
        default_value_t = 10_000
    )]
    codex_worker_max_turns: u64,
    /// Age at which a child is replaced, in milliseconds.
    #[arg(
        long,
        env = "CODEX_WORKER_MAX_AGE_MS",
        value_name = "MS",
        default_value = "21600000"
    )]
    codex_worker_max_age_ms: Timer,
    /// Memory at which a child is replaced, in MiB.
    #[arg(
        long,
        env = "CODEX_WORKER_MAX_RSS_MIB",
        value_name = "MIB",
        default_value_t = 1024
    )]
    codex_worker_max_rss_mib: u64,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Models")]
struct ModelArgs {
    /// The model that every public id stands for; itself an id too.
    #[arg(
        long,
        env = "CODEX_MODEL",
        value_name = "NAME",
        default_value = "gpt-5"
    )]
    codex_model: String,
    /// `dev` advertises the codev-5 ids, anything else the codex-5 ids; both are accepted everywhere.
    #[arg(long, env = "PROXY_ENV", value_name = "NAME", default_value = "")]
    proxy_env: String,
    /// More ids, as JSON: {"fast": {"model": "gpt-5.5", "effort": "low"}}.
    #[arg(long, env = "PROXY_MODELS", value_name = "JSON", value_parser = parse_models)]
    models: Option<OwnModels>,
    /// Whether /v1/models is for key holders only.
    #[arg(long, env = "PROXY_PROTECT_MODELS", value_name = "BOOL", default_value = "false", value_parser = clap::builder::BoolishValueParser::new(), action = clap::ArgAction::Set)]
    protect_models: bool,
    /// Whether each request has to name a model, as with OpenAI; if not, one without gets that of CODEX_MODEL.
    #[arg(long, env = "PROXY_REQUIRE_MODEL", value_name = "BOOL", default_value = "true", value_parser = clap::builder::BoolishValueParser::new(), action = clap::ArgAction::Set)]
    require_model: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Turns")]
struct TurnArgs {
    /// Turns at once, streaming or not; 0 is without limit.
    #[arg(
        long,
        env = "PROXY_SSE_MAX_CONCURRENCY",
        value_name = "TURNS",
        default_value_t = 4
    )]
    sse_max_concurrency: usize,
    /// Requests that may wait for a slot before others are refused with 429.
    #[arg(
        long,
        env = "PROXY_QUEUE_MAX",
        value_name = "REQUESTS",
        default_value_t = 16
    )]
    queue_max: usize,
    /// How long each of them waits, in milliseconds.
    #[arg(
        long,
        env = "PROXY_QUEUE_TIMEOUT_MS",
        value_name = "MS",
        default_value_t = 5_000
    )]
    queue_timeout_ms: u64,
    /// Longest request, in milliseconds; 0 is for ever, here and below.
    #[arg(
        long,
        env = "PROXY_TIMEOUT_MS",
        value_name = "MS",
        default_value = "300000"
    )]
    timeout_ms: Timer,
    /// Longest silence before Codex's first sign of life, in milliseconds.
    #[arg(
        long,
        env = "PROXY_IDLE_TIMEOUT_MS",
        value_name = "MS",
        default_value = "15000"
    )]
    idle_timeout_ms: Timer,
    /// Longest silence of a turn that is not streamed, in milliseconds.
    #[arg(
        long,
        env = "PROXY_PROTO_IDLE_MS",
        value_name = "MS",
        default_value = "120000"
    )]
    proto_idle_ms: Timer,
    /// Longest silence of a stream, in milliseconds.
    #[arg(
        long,
        env = "PROXY_STREAM_IDLE_TIMEOUT_MS",
        value_name = "MS",
        default_value = "300000"
    )]
    stream_idle_timeout_ms: Timer,
    /// Whether a client that leaves ends its turn; if not, the turn goes on and keeps its slot.
    #[arg(long, env = "PROXY_KILL_ON_DISCONNECT", value_name = "BOOL", default_value = "true", value_parser = clap::builder::BoolishValueParser::new(), action = clap::ArgAction::Set)]
    kill_on_disconnect: bool,
    /// Largest prompt, in tokens at four characters each; 0 leaves it to the model.
    #[arg(
        long,
        env = "PROXY_MAX_PROMPT_TOKENS",
        value_name = "TOKENS",
        default_value_t = 0
    )]
    max_prompt_tokens: u64,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Text with <use_tool> blocks, of chats and legacy completions")]
struct ToolTailArgs {
    /// Whether text behind the last complete block is left out. The flags below leave it out too.
    #[arg(long, env = "PROXY_SUPPRESS_TAIL_AFTER_TOOLS", value_name = "BOOL", default_value = "false", value_parser = clap::builder::BoolishValueParser::new(), action = clap::ArgAction::Set)]
    suppress_tail_after_tools: bool,
    /// Whether blocks end the turn.
    #[arg(long, env = "PROXY_STOP_AFTER_TOOLS", value_name = "BOOL", default_value = "false", value_parser = clap::builder::BoolishValueParser::new(), action = clap::ArgAction::Set)]
    stop_after_tools: bool,
    /// Which blocks do: the first one, or a burst of them, once no text has come for the grace.
    #[arg(
        long,
        env = "PROXY_STOP_AFTER_TOOLS_MODE",
        value_name = "MODE",
        default_value = "burst",
        ignore_case = true
    )]
    stop_after_tools_mode: StopMode,
    /// Silence that ends a burst, in milliseconds.
    #[arg(
        long,
        env = "PROXY_STOP_AFTER_TOOLS_GRACE_MS",
        value_name = "MS",
        default_value_t = 300
    )]
    stop_after_tools_grace_ms: u64,
    /// The turn ends with so many blocks, whether others end it or not; 0 is without limit.
    #[arg(
        long,
        env = "PROXY_TOOL_BLOCK_MAX",
        value_name = "BLOCKS",
        default_value_t = 0
    )]
    tool_block_max: u32,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum StopMode {
    Burst,
    First,
}

impl ToolTailArgs {
    /// The rule that they come to; `None` when they ask for nothing.
    fn rule(&self) -> Option<ToolTail> {
        let max_blocks = NonZeroU32::new(self.tool_block_max);
        let grace = Duration::from_millis(self.stop_after_tools_grace_ms);
        let rule = match (self.stop_after_tools, self.stop_after_tools_mode) {
            (true, StopMode::First) => ToolTail {
                grace: None,
                max_blocks: Some(NonZeroU32::MIN),
            },
            (true, StopMode::Burst) => ToolTail {
                grace: Some(grace),
                max_blocks,
            },
            (false, _) => ToolTail {
                grace: None,
                max_blocks,
            },
        };
        let cuts = rule != ToolTail::default() || self.suppress_tail_after_tools;
        cuts.then_some(rule)
    }
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Stored responses")]
struct ResponseArgs {
    /// Responses of all clients that are kept, in memory; 0 keeps none. The client that keeps most makes room first.
    #[arg(
        long,
        env = "PROXY_RESPONSES_MAX",
        value_name = "RESPONSES",
        default_value_t = 4096
    )]
    responses_max: usize,
    /// Memory that they may take, in MiB, with the conversations that they go on from.
    #[arg(
        long,
        env = "PROXY_RESPONSES_MAX_MIB",
        value_name = "MIB",
        default_value_t = 64
    )]
    responses_max_mib: usize,
    /// How long each is kept, in milliseconds; 0 is for ever.
    #[arg(
        long,
        env = "PROXY_RESPONSES_TTL_MS",
        value_name = "MS",
        default_value = "86400000"
    )]
    responses_ttl_ms: Timer,
}

/// Milliseconds; 0 turns the timer off.
#[derive(Debug, Clone, Copy)]
struct Timer(Option<Duration>);

impl FromStr for Timer {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let milliseconds: u64 = text.parse()?;
        Ok(Self(
            (milliseconds > 0).then(|| Duration::from_millis(milliseconds)),
        ))
    }
}

/// It becomes part of a dotted TOML key.
fn parse_provider(name: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.is_empty() && name.chars().all(plain) {
        Ok(name.to_owned())
    } else {
        Err("expected the name of a [model_providers.NAME] table: letters, digits, - and _".into())
    }
}

/// All ids of one value; clap would take a bare `Vec` for a flag that comes several times.
#[derive(Debug, Clone, Default)]
struct OwnModels(Vec<ModelOverride>);

fn parse_models(json: &str) -> Result<OwnModels, String> {
    let models = ModelOverride::parse_all(json).map_err(|error| error.to_string())?;
    Ok(OwnModels(models))
}

/// The command, blind to variables that are set to nothing, as compose files do with `${NAME:-}`.
fn command() -> clap::Command {
    let command = Raw::command();
    let empty: Vec<_> = command
        .get_arguments()
        .filter(|argument| argument.get_env().is_some_and(is_empty_variable))
        .map(|argument| argument.get_id().clone())
        .collect();
    empty.into_iter().fold(command, |command, id| {
        command.mut_arg(id, |argument| argument.env(None::<&'static str>))
    })
}

fn is_empty_variable(name: &std::ffi::OsStr) -> bool {
    std::env::var_os(name).is_some_and(|value| value.is_empty())
}

impl From<Raw> for Config {
    fn from(raw: Raw) -> Self {
        let Raw {
            server,
            codex,
            workers,
            models,
            turns,
            tool_tail,
            responses,
        } = raw;
        let slots = NonZeroUsize::new(turns.sse_max_concurrency);
        let OwnModels(overrides) = models.models.unwrap_or_default();
        Self {
            listen: server.listen,
            codex_bin: codex.codex_bin,
            protocol: codex.codex_protocol,
            codex_home: codex.codex_home,
            codex_home_max_bytes: codex.codex_home_max_mib << 20,
            force_provider: codex.codex_force_provider,
            workdir: codex.codex_workdir,
            env_passthrough: codex.codex_env_passthrough,
            sandbox_mode: codex.sandbox_mode,
            profile: match codex.codex_profile {
                ProfileArg::Chat => Profile::Chat,
                ProfileArg::Agent => Profile::Agent,
            },
            catalogue: Catalogue::new(&models.codex_model, &models.proxy_env, overrides),
            limits: Limits {
                proto_pool: slots.map_or(workers.codex_proto_pool, |slots| {
                    slots.min(workers.codex_proto_pool)
                }),
                workers: workers.codex_workers,
                wear: Wear {
                    turns: NonZeroU64::new(workers.codex_worker_max_turns),
                    age: workers.codex_worker_max_age_ms.0,
                    rss_bytes: NonZeroU64::new(workers.codex_worker_max_rss_mib << 20),
                },
                turns: slots,
                queue: turns.queue_max,
                queue_timeout: Duration::from_millis(turns.queue_timeout_ms),
            },
            timers: TimerConfig {
                request: turns.timeout_ms.0,
                first_sign: turns.idle_timeout_ms.0,
                gathered_silence: turns.proto_idle_ms.0,
                streamed_silence: turns.stream_idle_timeout_ms.0,
            },
            responses: StoreLimits {
                responses: NonZeroUsize::new(responses.responses_max),
                bytes: responses.responses_max_mib << 20,
                age: responses.responses_ttl_ms.0,
            },
            keepalive: server.sse_keepalive_ms.0,
            kill_on_disconnect: turns.kill_on_disconnect,
            max_prompt_tokens: NonZeroU64::new(turns.max_prompt_tokens),
            tool_tail: tool_tail.rule(),
            max_body_bytes: server.max_body_bytes,
            drain: Duration::from_millis(server.drain_ms),
            protect_models: models.protect_models,
            require_model: models.require_model,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::Effort;

    fn parse(args: &[&str]) -> Result<Config, String> {
        let args = ["sidecar"].iter().chain(args).map(OsString::from);
        Config::from_args(args).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_the_contract() {
        let config = parse(&[]).unwrap();
        assert_eq!(
            config.listen,
            Listen::Unix("/run/codex-edge/sidecar.sock".into())
        );
        assert_eq!(config.sandbox_mode, SandboxMode::ReadOnly);
        assert_eq!(config.limits.turns.map(NonZeroUsize::get), Some(4));
        assert_eq!(config.timers.request, Some(Duration::from_secs(300)));
        assert_eq!(config.max_body_bytes, 16 << 20);
        assert!(config.kill_on_disconnect);
    }

    /// It ended the sidecar with a panic, since clap was told another type than its parser returns.
    #[test]
    fn models_of_the_operators_own_are_taken() {
        let json = r#"{"fast":{"model":"gpt-5.5","effort":"low"},"plain":{}}"#;
        let catalogue = parse(&["--models", json]).unwrap().catalogue;
        let fast = catalogue.find("FAST").unwrap();
        assert_eq!(
            (fast.name.as_str(), fast.effort),
            ("gpt-5.5", Some(Effort::Low))
        );
        assert_eq!(catalogue.find("plain").unwrap().name, "gpt-5");
    }

    #[test]
    fn no_more_children_wait_than_there_can_be_turns() {
        for (args, expected) in [
            (&[][..], 2),
            (&["--sse-max-concurrency", "1"], 1),
            (
                &["--sse-max-concurrency", "0", "--codex-proto-pool", "5"],
                5,
            ),
        ] {
            let pool = parse(args).unwrap().limits.proto_pool;
            assert_eq!(pool.get(), expected, "{args:?}");
        }
    }

    #[test]
    fn zero_turns_a_limit_off() {
        let config = parse(&[
            "--timeout-ms",
            "0",
            "--sse-max-concurrency",
            "0",
            "--sse-keepalive-ms",
            "0",
        ])
        .unwrap();
        assert_eq!(
            (config.timers.request, config.limits.turns, config.keepalive),
            (None, None, None)
        );
    }

    #[test]
    fn what_stands_behind_tool_blocks_follows_one_rule() {
        let rule = |grace_ms: Option<u64>, max_blocks| {
            Some(ToolTail {
                grace: grace_ms.map(Duration::from_millis),
                max_blocks: NonZeroU32::new(max_blocks),
            })
        };
        for (flags, expected) in [
            ("", None),
            ("--stop-after-tools-mode=first", None),
            ("--suppress-tail-after-tools=1", rule(None, 0)),
            ("--stop-after-tools=true", rule(Some(300), 0)),
            (
                "--stop-after-tools=on --stop-after-tools-grace-ms=0",
                rule(Some(0), 0),
            ),
            (
                "--stop-after-tools=yes --stop-after-tools-mode=First --tool-block-max=3",
                rule(None, 1),
            ),
            (
                "--stop-after-tools=true --tool-block-max=2",
                rule(Some(300), 2),
            ),
            ("--tool-block-max=2", rule(None, 2)),
        ] {
            let args: Vec<_> = flags.split_whitespace().collect();
            assert_eq!(parse(&args).unwrap().tool_tail, expected, "{flags}");
        }
    }

    #[test]
    fn a_wrong_value_is_refused_by_name() {
        for (args, named) in [
            (["--timeout-ms", "5m"], "--timeout-ms"),
            (["--listen", "0.0.0.0:80"], "loopback"),
            (["--listen", "unix:"], "unix:/path"),
            (["--sandbox-mode", "none"], "read-only"),
            (["--codex-force-provider", "a.b"], "model_providers"),
            (["--models", "[]"], "--models"),
            (["--models", r#"{"x":{"effort":"much"}}"#], "effort"),
            (["--kill-on-disconnect", "maybe"], "--kill-on-disconnect"),
            (["--codex-protocol", "v2"], "app-server"),
            (["--codex-proto-pool", "0"], "--codex-proto-pool"),
            (["--max-prompt-tokens", "5k"], "--max-prompt-tokens"),
            (["--stop-after-tools", "2"], "--stop-after-tools"),
            (["--stop-after-tools-mode", "last"], "first"),
            (["--tool-block-max", "many"], "--tool-block-max"),
        ] {
            let message = parse(&args).unwrap_err();
            assert!(message.contains(named), "{args:?}: {message}");
        }
    }
}
