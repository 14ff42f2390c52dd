//! The arguments of `codex app-server`: a plain model without shell, patch, web search, MCP or project documents.
//! The keys are those of `config.toml` of Codex 0.169.

use std::ffi::OsString;
use std::path::Path;

use crate::codex::launch::arguments::{setting_arguments, toml_string};

/// Features of Codex that a plain model does not use. `-c features.X=false` has no effect where X is unknown.
const FEATURES_OFF: [&str; 29] = [
    "shell_tool",
    "unified_exec",
    "shell_snapshot",
    "view_image",
    "image_generation",
    "multi_agent",
    "multi_agent_v2",
    "goals",
    "apps",
    "plugins",
    "remote_plugin",
    "tool_suggest",
    "skill_search",
    "sleep_tool",
    "memories",
    "hooks",
    "code_mode",
    "code_mode_only",
    "code_mode_host",
    "browser_use",
    "computer_use",
    "in_app_browser",
    "workspace_dependencies",
    "skill_mcp_dependency_install",
    "tool_call_mcp_elicitation",
    "auth_elicitation",
    "incremental_tools",
    "unbounded_connection_retries",
    "apply_patch_freeform",
];

/// Settings beside the features: they keep facts about the machine out of prompts, and turn off silent truncation and
/// compaction.
const SETTINGS: [(&str, &str); 16] = [
    ("include_environment_context", "false"),
    ("include_permissions_instructions", "false"),
    ("include_collaboration_mode_instructions", "false"),
    ("include_apps_instructions", "false"),
    ("skills.include_instructions", "false"),
    ("web_search", "\"disabled\""),
    ("tools.experimental_request_user_input.enabled", "false"),
    ("tools.update_plan.enabled", "false"),
    ("project_doc_max_bytes", "0"),
    ("tool_output_token_limit", "1000000000"),
    ("thread_unload_delay_secs", "0"),
    ("analytics.enabled", "false"),
    ("check_for_update_on_startup", "false"),
    ("history.persistence", "\"none\""),
    ("approval_policy", "\"never\""),
    // Commands of agents otherwise inherit the access token from the child. Other keys of this table stay the operator's.
    ("shell_environment_policy.set.CODEX_ACCESS_TOKEN", "\"\""),
];

/// Returns the arguments after the program's name, with the model catalogue, the folder of Codex's databases, and the
/// settings of the provider.
pub(in crate::codex) fn arguments(
    catalogue: &Path,
    databases: &Path,
    provider: Vec<(String, String)>,
) -> Vec<OsString> {
    let features = FEATURES_OFF.map(|name| (format!("features.{name}"), "false".to_owned()));
    let plain = SETTINGS.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let paths = [
        ("model_catalog_json".to_owned(), toml_string(catalogue)),
        ("sqlite_home".to_owned(), toml_string(databases)),
    ];
    let all = features.into_iter().chain(plain).chain(paths);
    setting_arguments("app-server", all.chain(provider))
}
