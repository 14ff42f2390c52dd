//! The flags as clap declares them, each with an environment variable.
//! The doc comments are the help texts of `--help` and of docs/configuration.md.

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser};

use super::codex_args::{AgentArgs, CodexArgs, ModelArgs, WorkerArgs};
use super::help;
use super::listen::Listen;
use super::otel::OtelArgs;
use super::values::{StateArg, StopMode, Timer, UnavailableArg};

#[derive(Debug, Parser)]
#[command(
    name = "sidecar",
    about = help::ABOUT,
    after_help = help::AFTER,
    version,
    long_version = help::VERSION
)]
pub(super) struct RawArgs {
    /// Validate the configuration and environment, print what would run, and exit.
    #[arg(long)]
    pub(super) check: bool,
    #[command(flatten)]
    pub(super) server: ServerArgs,
    #[command(flatten)]
    pub(super) codex: CodexArgs,
    #[command(flatten)]
    pub(super) workers: WorkerArgs,
    #[command(flatten)]
    pub(super) agents: AgentArgs,
    #[command(flatten)]
    pub(super) models: ModelArgs,
    #[command(flatten)]
    pub(super) turns: TurnArgs,
    #[command(flatten)]
    pub(super) images: ImageArgs,
    #[command(flatten)]
    pub(super) tool_tail: ToolTailArgs,
    #[command(flatten)]
    pub(super) responses: ResponseArgs,
    #[command(flatten)]
    pub(super) records: RecordArgs,
    #[command(flatten)]
    pub(super) otel: OtelArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Server")]
pub(super) struct ServerArgs {
    /// Address for connections from Envoy: unix:/path (mode 0660) or a loopback address.
    #[arg(
        long,
        env = "SIDECAR_LISTEN",
        value_name = "ADDRESS",
        default_value = "unix:/run/codex-edge/sidecar.sock"
    )]
    pub(super) listen: Listen,
    /// Maximum size of a request body in bytes; Envoy has its own limit.
    #[arg(long, env = "PROXY_MAX_BODY_BYTES", value_name = "BYTES", default_value_t = 16 << 20)]
    pub(super) max_body_bytes: usize,
    /// Maximum memory in MiB of request bodies and conversations that no child has yet, at least 6 times
    /// PROXY_MAX_BODY_BYTES; a client may hold as much of it as it leaves free, half when it is alone.
    #[arg(
        long,
        env = "PROXY_BODY_MEMORY_MIB",
        value_name = "MIB",
        default_value_t = 256
    )]
    pub(super) body_memory_mib: usize,
    // The default is a text, because `default_value_t` requires `Display`, which `Timer` has no other use for.
    /// Interval of `: keepalive` comments on an idle stream in milliseconds; 0 disables them.
    #[arg(
        long,
        env = "PROXY_SSE_KEEPALIVE_MS",
        value_name = "MS",
        default_value = "15000"
    )]
    pub(super) sse_keepalive_ms: Timer,
    /// Longest wait for the model's answer before a stream starts, so that an earlier failure has its HTTP status, in
    /// milliseconds; 0 starts streams at once.
    #[arg(
        long,
        env = "PROXY_STREAM_HEAD_MS",
        value_name = "MS",
        default_value = "5000"
    )]
    pub(super) stream_head_ms: Timer,
    // Must stay below `stop_grace_period` in docker-compose.yml and the grace periods in deploy/.
    /// Drain timeout in milliseconds: time for running turns to finish after SIGTERM.
    #[arg(
        long,
        env = "PROXY_DRAIN_MS",
        value_name = "MS",
        default_value_t = 30_000
    )]
    pub(super) drain_ms: u64,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Observability")]
pub(super) struct RecordArgs {
    /// Address of /metrics and the status page: unix:/path (mode 0600) or a loopback address; disabled by default.
    #[arg(long, env = "SIDECAR_ADMIN_LISTEN", value_name = "ADDRESS")]
    pub(super) admin_listen: Option<Listen>,
    /// Usage log, one JSON line per request with its tokens and times; defaults to usage.ndjson in CODEX_HOME.
    #[arg(long, env = "TOKEN_LOG_PATH", value_name = "FILE")]
    pub(super) token_log_path: Option<PathBuf>,
    /// Place of the tokens that keys with a budget have spent: memory, sqlite: and the path of a file, or redis://HOST,
    /// which several sidecars share; defaults to state.sqlite3 in CODEX_HOME.
    #[arg(long, env = "PROXY_STATE", value_name = "PLACE")]
    pub(super) state: Option<StateArg>,
    /// Requests of keys with a budget while Redis is away: reject with 503, or allow.
    #[arg(
        long,
        env = "PROXY_STATE_UNAVAILABLE",
        value_name = "TREATMENT",
        value_enum,
        default_value_t = UnavailableArg::Reject
    )]
    pub(super) state_unavailable: UnavailableArg,
    /// Size in MiB at which the usage log is rotated to FILE.1, replacing the previous FILE.1; 0 disables rotation.
    #[arg(
        long,
        env = "TOKEN_LOG_MAX_MIB",
        value_name = "MIB",
        default_value_t = 32
    )]
    pub(super) token_log_max_mib: u64,
    // A boolean flag takes a value, as its variable does. clap's default, a switch, could not override a variable that
    // is set to true.
    /// Log each line between the sidecar and Codex, without texts and credentials.
    #[arg(long, env = "PROXY_LOG_PROTO", value_name = "BOOL", default_value = "false", value_parser = clap::builder::BoolishValueParser::new(), action = clap::ArgAction::Set)]
    pub(super) log_proto: bool,
    /// Protocol log; defaults to codex-proto-events.ndjson in CODEX_HOME. Rotated at the same size as the usage log.
    #[arg(long, env = "PROTO_LOG_PATH", value_name = "FILE")]
    pub(super) proto_log_path: Option<PathBuf>,
    /// Enable /__test/conc, which reports the number of running turns.
    #[arg(long, env = "PROXY_TEST_ENDPOINTS", value_name = "BOOL", default_value = "false", value_parser = clap::builder::BoolishValueParser::new(), action = clap::ArgAction::Set)]
    pub(super) test_endpoints: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Turns")]
pub(super) struct TurnArgs {
    /// Maximum number of concurrent turns, streaming or not; 0 disables the limit.
    #[arg(
        long,
        env = "PROXY_SSE_MAX_CONCURRENCY",
        value_name = "TURNS",
        default_value_t = 4
    )]
    pub(super) sse_max_concurrency: usize,
    /// Maximum number of concurrent turns of one client; 0 means all, or all but one while other clients are active.
    #[arg(
        long,
        env = "PROXY_CLIENT_MAX_CONCURRENCY",
        value_name = "TURNS",
        default_value_t = 0
    )]
    pub(super) client_max_concurrency: usize,
    /// Maximum number of queued requests; further requests are rejected with 429.
    #[arg(
        long,
        env = "PROXY_QUEUE_MAX",
        value_name = "REQUESTS",
        default_value_t = 16
    )]
    pub(super) queue_max: usize,
    /// Maximum time that a request is queued, in milliseconds.
    #[arg(
        long,
        env = "PROXY_QUEUE_TIMEOUT_MS",
        value_name = "MS",
        default_value_t = 5_000
    )]
    pub(super) queue_timeout_ms: u64,
    /// Timeout of a whole request in milliseconds; 0 disables it.
    #[arg(
        long,
        env = "PROXY_TIMEOUT_MS",
        value_name = "MS",
        default_value = "300000"
    )]
    pub(super) timeout_ms: Timer,
    /// Timeout until the first event from Codex in milliseconds; 0 disables it.
    #[arg(
        long,
        env = "PROXY_IDLE_TIMEOUT_MS",
        value_name = "MS",
        default_value = "15000"
    )]
    pub(super) idle_timeout_ms: Timer,
    /// Idle timeout between events of a turn that is not streamed, in milliseconds; 0 disables it.
    #[arg(
        long,
        env = "PROXY_PROTO_IDLE_MS",
        value_name = "MS",
        default_value = "120000"
    )]
    pub(super) proto_idle_ms: Timer,
    /// Idle timeout between events of a streamed turn, in milliseconds; 0 disables it.
    #[arg(
        long,
        env = "PROXY_STREAM_IDLE_TIMEOUT_MS",
        value_name = "MS",
        default_value = "300000"
    )]
    pub(super) stream_idle_timeout_ms: Timer,
    /// Interrupt the turn when its client disconnects; otherwise the turn continues and counts towards the limit.
    #[arg(long, env = "PROXY_KILL_ON_DISCONNECT", value_name = "BOOL", default_value = "true", value_parser = clap::builder::BoolishValueParser::new(), action = clap::ArgAction::Set)]
    pub(super) kill_on_disconnect: bool,
    /// Maximum size of a prompt in tokens, estimated at four characters each; 0 leaves the limit to the model.
    #[arg(
        long,
        env = "PROXY_MAX_PROMPT_TOKENS",
        value_name = "TOKENS",
        default_value_t = 0
    )]
    pub(super) max_prompt_tokens: u64,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Images")]
pub(super) struct ImageArgs {
    // Codex 0.171 takes 11 bytes for each pixel of a large image, and 2.4 s of a core for 50 megapixels.
    /// Maximum size of an image in megapixels, millions of pixels; 0 disables the limit.
    #[arg(
        long,
        env = "PROXY_IMAGE_MAX_MPX",
        value_name = "MPX",
        default_value_t = 51
    )]
    pub(super) image_max_mpx: u64,
    /// Maximum size of all images of a conversation together in megapixels; 0 disables the limit.
    #[arg(
        long,
        env = "PROXY_IMAGES_MAX_MPX",
        value_name = "MPX",
        default_value_t = 102
    )]
    pub(super) images_max_mpx: u64,
    /// Maximum number of images in a conversation; 0 disables the limit.
    #[arg(
        long,
        env = "PROXY_IMAGES_MAX",
        value_name = "IMAGES",
        default_value_t = 64
    )]
    pub(super) images_max: usize,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Tool blocks (<use_tool>) in chat and legacy completions")]
pub(super) struct ToolTailArgs {
    /// Drop the text after the last complete block; implied by the flags below.
    #[arg(long, env = "PROXY_SUPPRESS_TAIL_AFTER_TOOLS", value_name = "BOOL", default_value = "false", value_parser = clap::builder::BoolishValueParser::new(), action = clap::ArgAction::Set)]
    pub(super) suppress_tail_after_tools: bool,
    /// End the turn after tool blocks.
    #[arg(long, env = "PROXY_STOP_AFTER_TOOLS", value_name = "BOOL", default_value = "false", value_parser = clap::builder::BoolishValueParser::new(), action = clap::ArgAction::Set)]
    pub(super) stop_after_tools: bool,
    /// End the turn after the first block, or after a burst of blocks, once no text has arrived for the grace period.
    #[arg(
        long,
        env = "PROXY_STOP_AFTER_TOOLS_MODE",
        value_name = "MODE",
        default_value = "burst",
        ignore_case = true
    )]
    pub(super) stop_after_tools_mode: StopMode,
    /// Grace period in milliseconds that ends a burst of blocks.
    #[arg(
        long,
        env = "PROXY_STOP_AFTER_TOOLS_GRACE_MS",
        value_name = "MS",
        default_value_t = 300
    )]
    pub(super) stop_after_tools_grace_ms: u64,
    /// Maximum number of blocks in a turn, even without PROXY_STOP_AFTER_TOOLS; 0 disables the limit.
    #[arg(
        long,
        env = "PROXY_TOOL_BLOCK_MAX",
        value_name = "BLOCKS",
        default_value_t = 0
    )]
    pub(super) tool_block_max: u32,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Stored responses")]
pub(super) struct ResponseArgs {
    /// Maximum number of stored responses; 0 stores none. The client that stores the most loses its oldest first.
    #[arg(
        long,
        env = "PROXY_RESPONSES_MAX",
        value_name = "RESPONSES",
        default_value_t = 4096
    )]
    pub(super) responses_max: usize,
    /// Maximum size of stored responses in MiB, including the conversations that they continue.
    #[arg(
        long,
        env = "PROXY_RESPONSES_MAX_MIB",
        value_name = "MIB",
        default_value_t = 64
    )]
    pub(super) responses_max_mib: usize,
    /// Lifetime of a stored response in milliseconds; 0 disables expiry.
    #[arg(
        long,
        env = "PROXY_RESPONSES_TTL_MS",
        value_name = "MS",
        default_value = "86400000"
    )]
    pub(super) responses_ttl_ms: Timer,
    /// Keep stored responses over a restart: in a file beside the one of PROXY_STATE. With Redis they always are.
    #[arg(long, env = "PROXY_RESPONSES_DURABLE", value_name = "BOOL", default_value = "false", value_parser = clap::builder::BoolishValueParser::new(), action = clap::ArgAction::Set)]
    pub(super) responses_durable: bool,
}

/// Returns the flags as declared. Help shows names and defaults but not the current values, which may be secret.
pub(super) fn declared() -> clap::Command {
    RawArgs::command().mut_args(|argument| argument.hide_env_values(true))
}

/// Returns the command to parse with; it ignores empty variables, which compose files set with `${NAME:-}`.
pub(super) fn command() -> clap::Command {
    let command = declared();
    // clap would parse the empty text as a value, and reject it.
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
