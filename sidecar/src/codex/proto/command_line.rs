//! The arguments of `codex proto`: a plain model, as far as Codex 0.42 allows.
//! The keys are those of its `config.toml`; the effect of each was verified by experiment.

use std::ffi::OsString;
use std::path::Path;

use crate::codex::launch::arguments::{setting_arguments, toml_string};

/// Approval policy: actions that need an approval are denied without a request.
pub(super) const APPROVAL_POLICY: &str = "never";

/// Sandbox mode. Codex 0.42 cannot sandbox a command of `proto`, so it denies commands that need a sandbox.
pub(super) const SANDBOX_MODE: &str = "read-only";

/// Instructions instead of Codex's own prompt of 27 KB. Codex always offers the tool `shell`, which never works here.
pub(super) const INSTRUCTIONS: &str =
    "You are a helpful assistant. You have no tools: never call one, answer in text.\n";

/// Settings that override `config.toml`. Commands that Codex considers harmless (`cat`, `bash -lc "ls"`) need neither
/// approval nor sandbox. Codex finds them by name only, so that a `PATH` of `/dev/null` keeps them from starting.
const SETTINGS: [(&str, &str); 13] = [
    (
        "shell_environment_policy",
        "{inherit=\"none\",set={PATH=\"/dev/null\"}}",
    ),
    ("tools", "{view_image=false,web_search=false}"),
    ("include_plan_tool", "false"),
    ("include_apply_patch_tool", "false"),
    ("experimental_use_exec_command_tool", "false"),
    ("experimental_use_unified_exec_tool", "false"),
    ("mcp_servers", "{}"),
    ("notify", "[]"),
    ("project_doc_max_bytes", "0"),
    ("history.persistence", "\"none\""),
    ("hide_agent_reasoning", "false"),
    ("show_raw_agent_reasoning", "false"),
    // Without this setting, Codex silently drops the effort for a model that it does not know.
    ("model_supports_reasoning_summaries", "true"),
];

/// Returns the arguments after the program's name. Without `instructions` Codex sends its own.
pub(in crate::codex) fn arguments(
    provider: Vec<(String, String)>,
    instructions: Option<&Path>,
) -> Vec<OsString> {
    let plain = SETTINGS.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let quoted = |key: &str, value: &str| (key.to_owned(), format!("\"{value}\""));
    let policies = [
        quoted("approval_policy", APPROVAL_POLICY),
        quoted("sandbox_mode", SANDBOX_MODE),
    ];
    let instructions = instructions.map(|file| {
        (
            "experimental_instructions_file".to_owned(),
            toml_string(file),
        )
    });
    let all = plain.into_iter().chain(policies).chain(instructions);
    setting_arguments("proto", all.chain(provider))
}
