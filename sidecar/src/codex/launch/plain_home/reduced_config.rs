//! The part of the operator's `config.toml` that children for chats read.
//! The keys are those of Codex 0.169 and 0.171; Codex 0.42 ignores the ones that it does not know.

use std::path::Path;

use toml::{Table, Value};

use crate::codex::launch::config_toml::read_config;
use crate::codex::launch::error::LaunchError;

/// Keys that decide about the model, the service and the login. Each other key may start a program or add to the prompt.
pub(super) const KEPT_KEYS: [&str; 5] = [
    "model",
    "chatgpt_base_url",
    "openai_base_url",
    "forced_login_method",
    "forced_chatgpt_workspace_id",
];

/// The table of the providers, of which the forced one is kept.
pub(super) const PROVIDERS: &str = "model_providers";

/// Returns the text of a `config.toml` with the kept keys of the one in `home`, and with the provider `forced`.
///
/// # Errors
/// The operator's file cannot be read, or is not valid TOML.
pub(in crate::codex) fn reduced_config(
    home: &Path,
    forced: Option<&str>,
) -> Result<String, LaunchError> {
    let operators: Table = read_config(home)?;
    Ok(reduce(operators, forced).to_string())
}

fn reduce(mut operators: Table, forced: Option<&str>) -> Table {
    let provider = forced.and_then(|name| {
        let provider = operators.get_mut(PROVIDERS)?.as_table_mut()?.remove(name)?;
        let table = Table::from_iter([(name.to_owned(), provider)]);
        Some((PROVIDERS.to_owned(), Value::Table(table)))
    });
    KEPT_KEYS
        .into_iter()
        .filter_map(|key| operators.remove_entry(key))
        .chain(provider)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_model_service_login_and_the_forced_provider_are_kept() {
        let operators = r#"
            model = "gpt-a"
            openai_base_url = "https://eu.example"
            notify = ["a-program"]
            [mcp_servers.docs]
            command = "a-server"
            [model_providers.ours]
            name = "ours"
            [model_providers.ours.http_headers]
            "x a" = "quoted \" value"
            [model_providers.other]
            name = "other"
        "#;
        let parsed = || operators.parse::<Table>().unwrap();
        let reduced = reduce(parsed(), Some("ours")).to_string();
        let read: Table = reduced.parse().expect("the text is valid TOML");
        let expected = r#"
            model = "gpt-a"
            openai_base_url = "https://eu.example"
            model_providers.ours = { name = "ours", http_headers = { "x a" = "quoted \" value" } }
        "#;
        assert_eq!(read, expected.parse::<Table>().unwrap(), "{reduced}");
        let unforced = reduce(parsed(), None);
        assert!(!unforced.contains_key(PROVIDERS), "{unforced}");
    }
}
