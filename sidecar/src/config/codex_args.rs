//! The flags of Codex, its workers and its models; see `args` for the others.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;

use super::types::{AgentClients, ProtocolChoice, SandboxMode, Secret};
use super::values::{ModelList, ProfileArg, Timer, parse_models, parse_provider, parse_secret};

#[derive(Debug, Args)]
#[command(next_help_heading = "Codex")]
pub(super) struct CodexArgs {
    /// Codex binary: a path, or a name to look up in PATH.
    #[arg(long, env = "CODEX_BIN", value_name = "PATH", default_value = "codex")]
    pub(super) codex_bin: PathBuf,
    /// Protocol between the sidecar and Codex; `auto` selects it by the version of the binary.
    #[arg(
        long,
        env = "CODEX_PROTOCOL",
        value_name = "PROTOCOL",
        default_value = "auto",
        ignore_case = true
    )]
    pub(super) codex_protocol: ProtocolChoice,
    /// Codex home directory with the login; set to mode 0700 and locked by this sidecar.
    #[arg(
        long,
        env = "CODEX_HOME",
        value_name = "FOLDER",
        default_value = ".codex-api"
    )]
    pub(super) codex_home: PathBuf,
    /// Maximum size of CODEX_HOME in MiB; the oldest sessions and logs are deleted first.
    #[arg(
        long,
        env = "CODEX_HOME_MAX_MIB",
        value_name = "MIB",
        default_value_t = 256
    )]
    pub(super) codex_home_max_mib: u64,
    /// Model provider from CODEX_HOME/config.toml to use instead of OpenAI.
    #[arg(long, env = "CODEX_FORCE_PROVIDER", value_name = "NAME", value_parser = parse_provider)]
    pub(super) codex_force_provider: Option<String>,
    /// Rebuild the Codex thread of a conversation under the conversation's own id, so that the provider's prompt cache hits.
    #[arg(long, env = "PROXY_CONVERSATION_IDS", value_name = "BOOL", default_value = "true", value_parser = clap::builder::BoolishValueParser::new(), action = clap::ArgAction::Set)]
    pub(super) conversation_ids: bool,
    /// Secret of the ids of conversations, the same for all sidecars of a service; defaults to a random one in CODEX_HOME.
    #[arg(long, env = "PROXY_CONVERSATION_SECRET", value_name = "SECRET", value_parser = parse_secret)]
    pub(super) conversation_secret: Option<Secret>,
    /// Additional environment variables to pass to Codex children, separated by commas.
    #[arg(
        long,
        env = "CODEX_ENV_PASSTHROUGH",
        value_name = "NAMES",
        value_delimiter = ','
    )]
    pub(super) codex_env_passthrough: Vec<String>,
    /// Working directory of Codex children; defaults to a private temporary directory.
    #[arg(long, env = "PROXY_CODEX_WORKDIR", value_name = "FOLDER")]
    pub(super) codex_workdir: Option<PathBuf>,
    /// Sandbox for the tools that Codex itself runs.
    #[arg(
        long,
        env = "PROXY_SANDBOX_MODE",
        value_name = "MODE",
        default_value = "read-only",
        ignore_case = true
    )]
    pub(super) sandbox_mode: SandboxMode,
    /// Default profile for keys without one: a plain chat model, or an agent with its tools in the sandbox.
    #[arg(
        long,
        env = "CODEX_PROFILE",
        value_name = "PROFILE",
        default_value = "chat",
        ignore_case = true
    )]
    pub(super) codex_profile: ProfileArg,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Workers")]
pub(super) struct WorkerArgs {
    /// Number of long-lived Codex children of each profile; each serves many turns at once.
    #[arg(
        long,
        env = "CODEX_WORKERS",
        value_name = "CHILDREN",
        default_value = "1"
    )]
    pub(super) codex_workers: NonZeroUsize,
    /// Number of idle `codex proto` children to start ahead; each serves one turn.
    #[arg(
        long,
        env = "CODEX_PROTO_POOL",
        value_name = "CHILDREN",
        default_value = "2"
    )]
    pub(super) codex_proto_pool: NonZeroUsize,
    /// Number of turns after which a child is replaced, without interrupting turns; 0 disables the limit.
    #[arg(
        long,
        env = "CODEX_WORKER_MAX_TURNS",
        value_name = "TURNS",
        default_value_t = 10_000
    )]
    pub(super) codex_worker_max_turns: u64,
    /// Age in milliseconds at which a child is replaced; 0 disables the limit.
    #[arg(
        long,
        env = "CODEX_WORKER_MAX_AGE_MS",
        value_name = "MS",
        default_value = "21600000"
    )]
    pub(super) codex_worker_max_age_ms: Timer,
    /// Resident memory in MiB at which a child is replaced; 0 disables the limit.
    #[arg(
        long,
        env = "CODEX_WORKER_MAX_RSS_MIB",
        value_name = "MIB",
        default_value_t = 1024
    )]
    pub(super) codex_worker_max_rss_mib: u64,
    /// Maximum number of threads that stay loaded for the next request of their conversation, so that the provider's prompt
    /// cache hits; a client has at most half of them. 0 begins a new thread for each request.
    #[arg(
        long,
        env = "PROXY_WARM_THREADS",
        value_name = "THREADS",
        default_value_t = 64
    )]
    pub(super) warm_threads: usize,
    /// Time in milliseconds after which a thread without a request is given up.
    #[arg(
        long,
        env = "PROXY_WARM_TTL_MS",
        value_name = "MS",
        default_value_t = 600_000
    )]
    pub(super) warm_ttl_ms: u64,
    /// Maximum number of threads that each child starts ahead, one for each set of settings (model, tools) that new threads
    /// have had repeatedly. 0 starts none, and so does 0 for PROXY_WARM_THREADS.
    #[arg(
        long,
        env = "PROXY_THREADS_AHEAD",
        value_name = "THREADS",
        default_value_t = 4
    )]
    pub(super) threads_ahead: usize,
    // Codex 0.171 starts with 200 MiB, needs less than 900 MiB for an image of 50 megapixels, and keeps some of that.
    /// Memory in MiB that a child may allocate; one that needs more ends, and so does the turn with the images that it was
    /// reading. 0 disables the limit.
    #[arg(
        long,
        env = "CODEX_CHILD_MAX_MIB",
        value_name = "MIB",
        default_value_t = 2048
    )]
    pub(super) codex_child_max_mib: u64,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Agents")]
pub(super) struct AgentArgs {
    /// Clients that may run agents at the same time: those of one key, while others are rejected with 429, or of any; `auto`
    /// allows any if the sandbox hides the files of one agent from another.
    #[arg(
        long,
        env = "PROXY_AGENT_CLIENTS",
        value_name = "CLIENTS",
        default_value = "auto",
        ignore_case = true
    )]
    pub(super) agent_clients: AgentClients,
    /// Timeout of a whole request of an agent in milliseconds; 0 disables it.
    #[arg(
        long,
        env = "PROXY_AGENT_TIMEOUT_MS",
        value_name = "MS",
        default_value = "300000"
    )]
    pub(super) agent_timeout_ms: Timer,
    /// Maximum size in MiB of the folder of an agent's turn, and of each file that an agent writes; 0 disables the limit.
    #[arg(
        long,
        env = "PROXY_AGENT_FOLDER_MAX_MIB",
        value_name = "MIB",
        default_value_t = 1024
    )]
    pub(super) agent_folder_max_mib: u64,
    /// Maximum number of processes of an agent's turn; a turn that exceeds it ends. 0 disables the limit.
    #[arg(
        long,
        env = "PROXY_AGENT_MAX_PROCESSES",
        value_name = "NUMBER",
        default_value_t = 256
    )]
    pub(super) agent_max_processes: usize,
    /// Maximum memory in MiB of all processes of an agent's turn together; a turn that exceeds it ends. 0 disables the limit.
    #[arg(
        long,
        env = "PROXY_AGENT_MEMORY_MAX_MIB",
        value_name = "MIB",
        default_value_t = 2048
    )]
    pub(super) agent_memory_max_mib: u64,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Models")]
pub(super) struct ModelArgs {
    /// Codex model behind the public model ids; defaults to `model` in CODEX_HOME/config.toml, else to Codex's own default.
    #[arg(long, env = "CODEX_MODEL", value_name = "NAME")]
    pub(super) codex_model: Option<String>,
    /// Family of model ids to list: `dev` lists codev-5, any other value codex-5; both are always accepted.
    #[arg(long, env = "PROXY_ENV", value_name = "NAME", default_value = "")]
    pub(super) proxy_env: String,
    /// Additional model ids as JSON: {"fast": {"model": "gpt-6-luna", "effort": "low"}}; "*" stands for every unknown id.
    #[arg(long, env = "PROXY_MODELS", value_name = "JSON", value_parser = parse_models)]
    pub(super) models: Option<ModelList>,
    /// Require an API key for /v1/models.
    #[arg(long, env = "PROXY_PROTECT_MODELS", value_name = "BOOL", default_value = "false", value_parser = clap::builder::BoolishValueParser::new(), action = clap::ArgAction::Set)]
    pub(super) protect_models: bool,
    /// Require `model` in each request, as OpenAI does; otherwise a missing one means the default model.
    #[arg(long, env = "PROXY_REQUIRE_MODEL", value_name = "BOOL", default_value = "true", value_parser = clap::builder::BoolishValueParser::new(), action = clap::ArgAction::Set)]
    pub(super) require_model: bool,
}
