//! The operator's settings for the model ids: `CODEX_MODEL`, `PROXY_ENV`, `PROXY_MODELS`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::turn::Effort;

/// The id in `PROXY_MODELS` that stands for every unknown id.
pub(super) const WILDCARD: &str = "*";

/// The settings that decide the ids.
#[derive(Debug, Clone, Default)]
pub struct CatalogueSettings {
    /// The model behind the public ids; `None` selects Codex's own default.
    pub codex_model: Option<String>,
    /// Whether `/v1/models` lists the family `codev-5` instead of `codex-5`.
    pub lists_codev: bool,
    /// The ids that the operator has added.
    pub overrides: Vec<ModelOverride>,
}

impl CatalogueSettings {
    /// Returns the names of the models that the operator has named, each once, sorted.
    pub fn model_names(&self) -> Vec<String> {
        let added = self
            .overrides
            .iter()
            .filter_map(|added| added.model.clone());
        let mut names: Vec<_> = self.codex_model.clone().into_iter().chain(added).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// A model id that the operator has added.
#[derive(Debug, Clone)]
pub struct ModelOverride {
    pub(super) id: String,
    pub(super) model: Option<String>,
    pub(super) effort: Option<Effort>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOverride {
    model: Option<String>,
    effort: Option<String>,
}

impl ModelOverride {
    /// Parses `{"id": {"model": "name", "effort": "low"}}`; both fields are optional. The id `*` stands for every
    /// unknown id.
    ///
    /// # Errors
    /// The JSON has another shape, an id that no request can name, or an effort that is not a name.
    pub fn parse_all(json: &str) -> Result<Vec<Self>, serde_json::Error> {
        let raw: BTreeMap<String, RawOverride> = serde_json::from_str(json)?;
        raw.into_iter()
            .map(|(id, raw)| {
                check_id(&id)?;
                let effort = raw.effort.as_deref().map(parse_effort).transpose()?;
                Ok(Self {
                    id,
                    model: raw.model,
                    effort,
                })
            })
            .collect()
    }
}

/// Rejects an id that cannot match, because requests are compared after trimming, and a pattern, because only the whole
/// id may be a wildcard.
fn check_id(id: &str) -> Result<(), serde_json::Error> {
    let problem = if id.is_empty() || id.trim() != id {
        "it must not be empty or have white space around it"
    } else if id != WILDCARD && id.contains('*') {
        "the only wildcard is the id \"*\", for every unknown id"
    } else {
        return Ok(());
    };
    let text = format!("invalid model id {id:?}: {problem}");
    Err(serde::de::Error::custom(text))
}

fn parse_effort(name: &str) -> Result<Effort, serde_json::Error> {
    let invalid = || {
        let text = format!("invalid effort {name:?}: expected a name such as low or xhigh");
        serde::de::Error::custom(text)
    };
    Effort::parse(name).ok_or_else(invalid)
}
