//! The arguments of `codex proto`: a plain model, as far as Codex 0.42 can be one.
//! The keys are those of its `config.toml`; each was seen to do what it is here for.

use std::ffi::OsString;
use std::path::Path;

use crate::codex::launch::arguments::{setting_arguments, toml_string};

/// Nothing is asked of anybody: what needs an approval is refused.
pub(super) const APPROVAL_POLICY: &str = "never";

/// Codex 0.42 cannot sandbox a command of `proto`: what needs a sandbox is refused.
pub(super) const SANDBOX_MODE: &str = "read-only";

/// What stands in for Codex's prompt of 27 KB. The tool `shell` is always offered, and never works.
pub(super) const INSTRUCTIONS: &str =
    "You are a helpful assistant. You have no tools: never call one, answer in text.\n";

/// Whatever `config.toml` says. Commands that Codex takes for harmless (`cat`, `bash -lc "ls"`) need neither approval
/// nor sandbox; they are found by name only, and `/dev/null` holds no program.
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
    // Without it, the effort of a model that this Codex does not know is left out silently.
    ("model_supports_reasoning_summaries", "true"),
];

/// What follows the program's name; without `instructions` Codex sends its own.
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
