//! Conversion of the parsed flags into the [`Config`] that the rest of the sidecar uses.
//! A value of 0 becomes `None` where it disables a limit or a timer.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use super::args::{RawArgs, ToolTailArgs};
use super::types::{
    AgentLimits, Config, Limits, RecycleLimits, TimerConfig, UsageLogConfig, WarmLimits,
};
use super::values::{ModelList, ProfileArg, StateArg, StopMode, UnavailableArg};
use crate::catalogue::CatalogueSettings;
use crate::store::{StatePlace, StoreLimits, Unavailable};
use crate::turn::{ImageLimits, Profile, ToolBlockTail};

/// The size of a MiB in bytes.
const MIB: u64 = 1 << 20;

impl From<RawArgs> for Config {
    fn from(raw: RawArgs) -> Self {
        let RawArgs {
            check: _,
            server,
            codex,
            workers,
            agents,
            models,
            turns,
            images,
            tool_tail,
            responses,
            records,
            // Parsed by `Command::parse`, because its errors are the command's.
            otel: _,
        } = raw;
        // Logs default to the home, because it is private to this sidecar.
        let in_home =
            |path: Option<PathBuf>, name| path.unwrap_or_else(|| codex.codex_home.join(name));
        let max_turns = NonZeroUsize::new(turns.sse_max_concurrency);
        let ModelList(overrides) = models.models.unwrap_or_default();
        let state = match records.state {
            Some(StateArg::Memory) => StatePlace::Memory,
            Some(StateArg::File(path)) => StatePlace::File(path),
            Some(StateArg::Redis(address)) => {
                StatePlace::Redis(address, records.state_unavailable.into())
            }
            None | Some(StateArg::Invalid(_)) => {
                StatePlace::File(codex.codex_home.join("state.sqlite3"))
            }
        };
        Self {
            listen: server.listen,
            admin_listen: records.admin_listen,
            usage_log: UsageLogConfig {
                path: in_home(records.token_log_path, "usage.ndjson"),
                max_bytes: NonZeroU64::new(records.token_log_max_mib.saturating_mul(MIB)),
            },
            otel: None,
            responses_file: state
                .responses_file()
                .filter(|_| responses.responses_durable),
            state,
            protocol_log: records
                .log_proto
                .then(|| in_home(records.proto_log_path, "codex-proto-events.ndjson")),
            test_endpoints: records.test_endpoints,
            codex_bin: codex.codex_bin,
            protocol: codex.codex_protocol,
            codex_home: codex.codex_home,
            codex_home_max_bytes: codex.codex_home_max_mib.saturating_mul(MIB),
            force_provider: codex.codex_force_provider,
            conversation_ids: codex.conversation_ids,
            conversation_secret: codex.conversation_secret,
            workdir: codex.codex_workdir,
            env_passthrough: codex.codex_env_passthrough,
            sandbox_mode: codex.sandbox_mode,
            profile: match codex.codex_profile {
                ProfileArg::Chat => Profile::Chat,
                ProfileArg::Agent => Profile::Agent,
            },
            models: CatalogueSettings {
                codex_model: models.codex_model,
                lists_codev: models.proxy_env.eq_ignore_ascii_case("dev"),
                overrides,
            },
            limits: Limits {
                // A child of `codex proto` serves one turn, so a pool beyond the limit of turns would stay idle.
                proto_pool: max_turns.map_or(workers.codex_proto_pool, |max_turns| {
                    max_turns.min(workers.codex_proto_pool)
                }),
                workers: workers.codex_workers,
                child_bytes: NonZeroU64::new(workers.codex_child_max_mib.saturating_mul(MIB)),
                recycle: RecycleLimits {
                    turns: NonZeroU64::new(workers.codex_worker_max_turns),
                    age: workers.codex_worker_max_age_ms.0,
                    rss_bytes: NonZeroU64::new(
                        workers.codex_worker_max_rss_mib.saturating_mul(MIB),
                    ),
                },
                agents: AgentLimits {
                    folder_bytes: NonZeroU64::new(agents.agent_folder_max_mib.saturating_mul(MIB)),
                    processes: NonZeroUsize::new(agents.agent_max_processes),
                    memory_bytes: NonZeroU64::new(agents.agent_memory_max_mib.saturating_mul(MIB)),
                    clients: agents.agent_clients,
                },
                turns: max_turns,
                client_turns: NonZeroUsize::new(turns.client_max_concurrency),
                queue: turns.queue_max,
                queue_timeout: Duration::from_millis(turns.queue_timeout_ms),
                warm: WarmLimits {
                    threads: NonZeroUsize::new(workers.warm_threads),
                    ttl: Duration::from_millis(workers.warm_ttl_ms),
                    ahead: workers.threads_ahead,
                },
            },
            timers: TimerConfig {
                request: turns.timeout_ms.0,
                agent_request: agents.agent_timeout_ms.0,
                first_event: turns.idle_timeout_ms.0,
                buffered_idle: turns.proto_idle_ms.0,
                stream_idle: turns.stream_idle_timeout_ms.0,
            },
            images: ImageLimits {
                images: NonZeroUsize::new(images.images_max),
                pixels: megapixels(images.image_max_mpx),
                request_pixels: megapixels(images.images_max_mpx),
            },
            responses: StoreLimits {
                responses: NonZeroUsize::new(responses.responses_max),
                bytes: responses.responses_max_mib.saturating_mul(1 << 20),
                age: responses.responses_ttl_ms.0,
            },
            keepalive: server.sse_keepalive_ms.0,
            stream_head: server.stream_head_ms.0,
            kill_on_disconnect: turns.kill_on_disconnect,
            max_prompt_tokens: NonZeroU64::new(turns.max_prompt_tokens),
            tool_tail: tool_block_tail(&tool_tail),
            max_body_bytes: server.max_body_bytes,
            body_memory_bytes: body_memory_bytes(server.body_memory_mib, server.max_body_bytes),
            drain: Duration::from_millis(server.drain_ms),
            protect_models: models.protect_models,
            require_model: models.require_model,
        }
    }
}

/// Returns the number of pixels.
fn megapixels(count: u64) -> Option<NonZeroU64> {
    NonZeroU64::new(count.saturating_mul(1_000_000))
}

/// Returns a budget of `mib`, or the smallest that admits the largest body to an idle sidecar.
fn body_memory_bytes(mib: usize, max_body_bytes: usize) -> usize {
    // A compressed body is held beside its decoded form, which is charged twice, and the input of a response beside its
    // conversation and the line for the child; one client gets half.
    let smallest = max_body_bytes.saturating_mul(6);
    mib.saturating_mul(1 << 20).max(smallest)
}

/// Returns the truncation rule of the flags; `None` forwards all text.
fn tool_block_tail(flags: &ToolTailArgs) -> Option<ToolBlockTail> {
    let max_blocks = NonZeroU32::new(flags.tool_block_max);
    let grace = Duration::from_millis(flags.stop_after_tools_grace_ms);
    let rule = match (flags.stop_after_tools, flags.stop_after_tools_mode) {
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
    let truncates = rule != ToolBlockTail::default() || flags.suppress_tail_after_tools;
    truncates.then_some(rule)
}

impl From<UnavailableArg> for Unavailable {
    fn from(arg: UnavailableArg) -> Self {
        match arg {
            UnavailableArg::Reject => Self::Reject,
            UnavailableArg::Allow => Self::Allow,
        }
    }
}
