//! Codex's list of models, as `codex debug models` of Codex 0.169 and 0.171 prints it.
//! With a login Codex asks the service for the list first, and falls back to the list in the binary.

use serde::Deserialize;
use serde_json::Value;

use crate::catalogue::{CodexModel, CodexModels};
use crate::codex::launch::binary::CodexBinary;
use crate::codex::launch::error::LaunchError;
use crate::turn::Effort;

/// The efforts of every model with `codex proto`; its protocol knows no other.
const PROTO_EFFORTS: [&str; 4] = ["minimal", "low", "medium", "high"];

/// The default model of Codex 0.42, which reports no list.
const PROTO_MODEL: &str = "gpt-5";

/// An entry of the list; Codex's children read the other fields.
#[derive(Deserialize)]
struct ListedModel {
    slug: String,
    #[serde(default)]
    supported_reasoning_levels: Vec<ListedEffort>,
    #[serde(default)]
    visibility: String,
    #[serde(default)]
    priority: i64,
    context_window: Option<u64>,
    #[serde(default)]
    support_verbosity: bool,
    #[serde(default)]
    service_tiers: Vec<ListedTier>,
}

#[derive(Deserialize)]
struct ListedEffort {
    effort: String,
}

#[derive(Deserialize)]
struct ListedTier {
    id: String,
}

impl From<ListedModel> for CodexModel {
    fn from(listed: ListedModel) -> Self {
        let efforts = listed.supported_reasoning_levels.iter();
        Self {
            name: listed.slug,
            efforts: efforts
                .filter_map(|level| Effort::parse(&level.effort))
                .collect(),
            context_window: listed.context_window,
            has_verbosity: listed.support_verbosity,
            service_tiers: listed
                .service_tiers
                .into_iter()
                .map(|tier| tier.id)
                .collect(),
            is_visible: listed.visibility == "list",
            priority: listed.priority,
        }
    }
}

/// Asks Codex for its list; `settings` are those of the provider that children use.
///
/// # Errors
/// Codex prints no list.
pub(super) async fn read(
    binary: &CodexBinary,
    settings: &[(String, String)],
) -> Result<Value, LaunchError> {
    match binary.models(settings, &[]).await {
        Ok(list) => Ok(list),
        Err(error) => {
            tracing::debug!(%error, "list of models in the codex binary used");
            binary.models(settings, &["--bundled"]).await
        }
    }
}

/// Parses a list. `default` is the operator's choice; `None` for a list without a visible model where it is absent too.
pub(super) fn parse(list: &Value, default: Option<&str>) -> Option<CodexModels> {
    let entries = list.get("models").and_then(Value::as_array)?;
    // An entry of an unknown shape is left out: a newer list must not end every start.
    let models = entries
        .iter()
        .filter_map(|entry| ListedModel::deserialize(entry).ok())
        .map(CodexModel::from);
    CodexModels::new(models.collect(), default)
}

/// Returns the models of `codex proto`, which reports no list.
pub(super) fn of_proto(default: Option<&str>) -> CodexModels {
    let efforts = PROTO_EFFORTS.into_iter().filter_map(Effort::parse);
    CodexModels::without_list(default.unwrap_or(PROTO_MODEL), efforts.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn entries_have_what_requests_may_ask_for() {
        let list = json!({"models": [
            {"slug": "b", "priority": 2, "visibility": "list", "context_window": 272_000,
             "support_verbosity": true, "service_tiers": [{"id": "priority", "name": "Fast"}],
             "supported_reasoning_levels": [{"effort": "low"}, {"effort": "xhigh"}]},
            {"slug": "a", "priority": 1, "visibility": "hide", "context_window": null},
            {"slug": 5},
        ]});
        let models = parse(&list, None).unwrap();
        assert_eq!(models.default_name(), "b");
        let model = models.get("b").unwrap();
        let efforts: Vec<_> = model.efforts.iter().map(Effort::as_str).collect();
        assert_eq!(efforts, ["low", "xhigh"]);
        assert_eq!(model.context_window, Some(272_000));
        assert_eq!(model.service_tiers, ["priority"]);
        assert!(model.has_verbosity);
        assert_eq!(models.get("a").unwrap().context_window, None);
        assert_eq!(parse(&list, Some("a")).unwrap().default_name(), "a");
    }

    #[test]
    fn a_list_without_a_visible_model_is_rejected_unless_the_operator_chose_one() {
        for list in [json!({}), json!({"models": []}), json!([])] {
            assert_eq!(parse(&list, None), None);
        }
    }
}
