//! The flags, each with a variable of the same name, and what they come to.
//! The doc comments are what `--help` says.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, ValueEnum};

use super::{
    Config, Limits, Listen, ProtocolChoice, RecycleLimits, SandboxMode, TimerConfig,
    UsageLogConfig, help,
};
use crate::catalogue::{Catalogue, ModelOverride};
use crate::store::StoreLimits;
use crate::turn::{Profile, ToolBlockTail};

/// Bytes.
const MIB: u64 = 1 << 20;

#[derive(Debug, Parser)]
#[command(
    name = "sidecar",
    about = help::ABOUT,
    after_help = help::AFTER,
    version,
    long_version = help::VERSION
)]
pub(super) struct Raw {
    /// Say whether it would start here and now, what is to be done if not, and what would run; starts nothing.
    #[arg(long)]
    pub(super) check: bool,
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
    #[command(flatten)]
    records: RecordArgs,
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
#[command(next_help_heading = "Seeing what happens")]
struct RecordArgs {
    /// Where /metrics and the status page are: unix:/path (mode 0600) or a loopback address. By default nowhere.
    #[arg(long, env = "SIDECAR_ADMIN_LISTEN", value_name = "ADDRESS")]
    admin_listen: Option<Listen>,
    /// The log of tokens and times, a JSON line a request; by default usage.ndjson in CODEX_HOME.
    #[arg(long, env = "TOKEN_LOG_PATH", value_name = "FILE")]
    token_log_path: Option<PathBuf>,
    /// Its size, in MiB, at which it becomes FILE.1, in place of the FILE.1 before; 0 lets it grow.
    #[arg(
        long,
        env = "TOKEN_LOG_MAX_MIB",
        value_name = "MIB",
        default_value_t = 32
    )]
    token_log_max_mib: u64,
    /// Whether each line between the sidecar and Codex is logged, without texts and credentials.
    #[arg(long, env = "PROXY_LOG_PROTO", value_name = "BOOL", default_value = "false", value_parser = clap::builder::BoolishValueParser::new(), action = clap::ArgAction::Set)]
    log_proto: bool,
    /// Where; by default codex-proto-events.ndjson in CODEX_HOME. Treated like the log of tokens.
    #[arg(long, env = "PROTO_LOG_PATH", value_name = "FILE")]
    proto_log_path: Option<PathBuf>,
    /// Whether /__test/conc tells how many turns run.
    #[arg(long, env = "PROXY_TEST_ENDPOINTS", value_name = "BOOL", default_value = "false", value_parser = clap::builder::BoolishValueParser::new(), action = clap::ArgAction::Set)]
    test_endpoints: bool,
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
    fn rule(&self) -> Option<ToolBlockTail> {
        let max_blocks = NonZeroU32::new(self.tool_block_max);
        let grace = Duration::from_millis(self.stop_after_tools_grace_ms);
        let rule = match (self.stop_after_tools, self.stop_after_tools_mode) {
            (true, StopMode::First) => ToolBlockTail {
                grace: None,
                max_blocks: Some(NonZeroU32::MIN),
            },
            (true, StopMode::Burst) => ToolBlockTail {
                grace: Some(grace),
                max_blocks,
            },
            (false, _) => ToolBlockTail {
                grace: None,
                max_blocks,
            },
        };
        let cuts = rule != ToolBlockTail::default() || self.suppress_tail_after_tools;
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

/// The flags as they are declared. Their help shows names and defaults; what they come to is `--check`'s.
pub(super) fn declared() -> clap::Command {
    Raw::command().mut_args(|argument| argument.hide_env_values(true))
}

/// The command, blind to variables that are set to nothing, as compose files do with `${NAME:-}`.
pub(super) fn command() -> clap::Command {
    let command = declared();
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
            check: _,
            server,
            codex,
            workers,
            models,
            turns,
            tool_tail,
            responses,
            records,
        } = raw;
        let in_home =
            |path: Option<PathBuf>, name| path.unwrap_or_else(|| codex.codex_home.join(name));
        let slots = NonZeroUsize::new(turns.sse_max_concurrency);
        let OwnModels(overrides) = models.models.unwrap_or_default();
        Self {
            listen: server.listen,
            admin_listen: records.admin_listen,
            usage_log: UsageLogConfig {
                path: in_home(records.token_log_path, "usage.ndjson"),
                max_bytes: NonZeroU64::new(records.token_log_max_mib.saturating_mul(MIB)),
            },
            protocol_log: records
                .log_proto
                .then(|| in_home(records.proto_log_path, "codex-proto-events.ndjson")),
            test_endpoints: records.test_endpoints,
            codex_bin: codex.codex_bin,
            protocol: codex.codex_protocol,
            codex_home: codex.codex_home,
            codex_home_max_bytes: codex.codex_home_max_mib.saturating_mul(MIB),
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
                wear: RecycleLimits {
                    turns: NonZeroU64::new(workers.codex_worker_max_turns),
                    age: workers.codex_worker_max_age_ms.0,
                    rss_bytes: NonZeroU64::new(
                        workers.codex_worker_max_rss_mib.saturating_mul(MIB),
                    ),
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
                bytes: responses.responses_max_mib.saturating_mul(1 << 20),
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
