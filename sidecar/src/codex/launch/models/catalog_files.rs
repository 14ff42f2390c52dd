//! The model catalogues that Codex is started with, derived from the one that it reports.
//! Shapes are those of `codex debug models` of Codex 0.169 and 0.171.

use serde_json::{Value, json};

/// Returns the catalogue with an entry for each of `names`; a missing model gets the metadata of a plain one.
/// `None` when the catalogue is empty.
pub(super) fn complete(mut catalogue: Value, names: &[String]) -> Option<Value> {
    let models = catalogue.get_mut("models")?.as_array_mut()?;
    // A model with a `tool_mode` would lend the missing models its tools.
    let is_plain = |model: &&Value| model.get("tool_mode").is_none_or(Value::is_null);
    let template = models.iter().find(is_plain).or(models.first())?.clone();
    for name in names {
        let known = |model: &Value| model.get("slug").and_then(Value::as_str) == Some(name);
        if !models.iter().any(known) {
            let mut model = template.clone();
            model["slug"] = name.as_str().into();
            model["display_name"] = name.as_str().into();
            models.push(model);
        }
    }
    Some(catalogue)
}

/// Returns the catalogue with every model stripped of tools and prompts.
///
/// The metadata of newer models turns on tools regardless of the feature flags. Without the limits set here Codex
/// silently truncates long tool outputs, and compacts long conversations with an extra model call.
pub(super) fn plain(mut catalogue: Value) -> Value {
    let models = catalogue.get_mut("models").and_then(Value::as_array_mut);
    models.into_iter().flatten().for_each(make_plain);
    catalogue
}

fn make_plain(model: &mut Value) {
    /// Tokens; above every real context window, and still within 32 bits.
    const UNLIMITED: u64 = 1_000_000_000;
    let Some(fields) = model.as_object_mut() else {
        return;
    };
    for name in ["tool_mode", "multi_agent_version", "model_messages"] {
        fields.remove(name);
    }
    let plain = json!({
        "shell_type": "disabled",
        "apply_patch_tool_type": null,
        "experimental_supported_tools": [],
        "supports_search_tool": false,
        "truncation_policy": {"mode": "tokens", "limit": UNLIMITED},
        "context_window": UNLIMITED,
        "max_context_window": UNLIMITED,
        "effective_context_window_percent": 100,
        "base_instructions": "You are a helpful assistant.",
    });
    if let Value::Object(plain) = plain {
        fields.extend(plain);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_catalogue_has_all_models_and_no_tools() {
        let bundled = json!({"models": [
            {"slug": "new", "tool_mode": "code_mode_only", "shell_type": "unified_exec"},
            {"slug": "plain", "shell_type": "default"},
        ]});
        let names = ["gpt-5".to_owned(), "plain".to_owned()];
        let complete = complete(bundled, &names).unwrap();
        assert_eq!(
            complete["models"][2]["shell_type"], "default",
            "agents keep their tools"
        );
        let plain = plain(complete);
        let models = plain["models"].as_array().unwrap();
        let slugs: Vec<_> = models.iter().map(|model| &model["slug"]).collect();
        assert_eq!(slugs, ["new", "plain", "gpt-5"]);
        for model in models {
            assert_eq!(model["shell_type"], "disabled");
            assert_eq!(model.get("tool_mode"), None);
        }
    }

    #[test]
    fn empty_catalogue_is_rejected() {
        for bundled in [json!({}), json!({"models": []}), json!([])] {
            assert_eq!(complete(bundled, &[]), None);
        }
    }
}
