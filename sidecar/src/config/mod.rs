//! Flags and environment variables -> a validated [`Config`].
//!
//! Every flag has an environment variable; an empty variable counts as unset. The names are those of the Node proxy
//! that this project replaces, where the meaning is the same.

mod args;
mod codex_args;
mod command;
mod convert;
mod help;
mod listen;
mod otel;
mod settings;
#[cfg(test)]
mod tests;
mod types;
mod values;

pub use command::Command;
pub use listen::Listen;
pub use otel::{BatchConfig, GenAiNames, OtelConfig, OtlpTarget, SampledTraces};
pub use settings::{Setting, SettingSource, variables};
pub use types::{
    AgentClients, AgentLimits, Config, Limits, ProtocolChoice, RecycleLimits, SandboxMode, Secret,
    TimerConfig, UsageLogConfig, WarmLimits,
};
