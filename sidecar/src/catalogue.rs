//! The model ids that clients may use, and the Codex model and effort behind each.
//! Ids are `codex-5` and `codev-5` with their efforts, `CODEX_MODEL` itself, and the ids of `PROXY_MODELS`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::turn::{Effort, Model};

/// Ids that map to `CODEX_MODEL`; each also exists with the suffix `-<effort>`.
const FAMILIES: [&str; 2] = ["codex-5", "codev-5"];

/// The efforts of a family, in the order of `/v1/models`.
const LISTED_EFFORTS: [Effort; 4] = [Effort::Low, Effort::Medium, Effort::High, Effort::Minimal];

/// The model ids of a deployment, and the default id.
#[derive(Debug, Clone)]
pub struct Catalogue {
    entries: Vec<CatalogueEntry>,
    default_id: String,
}

#[derive(Debug, Clone)]
struct CatalogueEntry {
    id: String,
    model: Model,
    advertised: bool,
    context_window: Option<u64>,
}

/// A model id that the operator has added.
#[derive(Debug, Clone)]
pub struct ModelOverride {
    id: String,
    model: Option<String>,
    effort: Option<Effort>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOverride {
    model: Option<String>,
    effort: Option<String>,
}

impl ModelOverride {
    /// Parses `{"id": {"model": "name", "effort": "low"}}`; both fields are optional.
    ///
    /// # Errors
    /// The JSON has another shape, an empty id or one with surrounding white space, or an unknown effort.
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

/// Rejects an id that cannot match, because requests are compared after trimming.
fn check_id(id: &str) -> Result<(), serde_json::Error> {
    if id.is_empty() || id.trim() != id {
        let text =
            format!("invalid model id {id:?}: it must not be empty or have white space around it");
        return Err(serde::de::Error::custom(text));
    }
    Ok(())
}

fn parse_effort(name: &str) -> Result<Effort, serde_json::Error> {
    let unknown = || {
        serde::de::Error::custom(format!(
            "unknown effort {name:?}, expected minimal, low, medium or high"
        ))
    };
    Effort::parse(name).ok_or_else(unknown)
}

impl Catalogue {
    /// Builds the catalogue of a deployment.
    pub fn new(codex_model: &str, proxy_env: &str, overrides: Vec<ModelOverride>) -> Self {
        let advertised = if proxy_env.eq_ignore_ascii_case("dev") {
            "codev-5"
        } else {
            "codex-5"
        };
        let mut catalogue = Self {
            entries: Vec::new(),
            default_id: codex_model.to_owned(),
        };
        // Both families are accepted in every deployment; `PROXY_ENV` only selects the listed one.
        for family in FAMILIES {
            let listed = family == advertised;
            catalogue.add(family.to_owned(), codex_model, None, listed);
            for effort in LISTED_EFFORTS {
                let id = format!("{family}-{}", effort.as_str());
                catalogue.add(id, codex_model, Some(effort), listed);
            }
        }
        catalogue.add(codex_model.to_owned(), codex_model, None, true);
        // Last, so that the operator can redefine a built-in id.
        for ModelOverride { id, model, effort } in overrides {
            catalogue.add(id, model.as_deref().unwrap_or(codex_model), effort, true);
        }
        catalogue
    }

    /// Adds an entry, which replaces an earlier one with the same id.
    fn add(&mut self, id: String, name: &str, effort: Option<Effort>, advertised: bool) {
        self.entries
            .retain(|entry| !entry.id.eq_ignore_ascii_case(&id));
        let name = name.to_owned();
        self.entries.push(CatalogueEntry {
            id,
            model: Model { name, effort },
            advertised,
            context_window: None,
        });
    }

    /// Sets the context windows that Codex reports, in tokens, by Codex model name.
    pub fn set_context_windows(&mut self, windows: &BTreeMap<String, u64>) {
        for entry in &mut self.entries {
            entry.context_window = windows.get(&entry.model.name).copied();
        }
    }

    fn entry(&self, id: &str) -> Option<&CatalogueEntry> {
        self.entries
            .iter()
            .find(|entry| entry.id.eq_ignore_ascii_case(id.trim()))
    }

    /// Returns the Codex model behind `id`, ignoring case.
    pub fn find(&self, id: &str) -> Option<&Model> {
        self.entry(id).map(|entry| &entry.model)
    }

    /// Returns the context window of the model behind `id`, in tokens, if Codex reports one.
    pub fn context_window(&self, id: &str) -> Option<u64> {
        self.entry(id)?.context_window
    }

    /// Returns the id for a request without a model.
    pub fn default_id(&self) -> &str {
        &self.default_id
    }

    /// Returns the ids that `/v1/models` lists, in order.
    pub fn advertised(&self) -> impl Iterator<Item = &str> {
        self.entries
            .iter()
            .filter(|entry| entry.advertised)
            .map(|entry| entry.id.as_str())
    }

    /// Returns all ids in order, each with its Codex model and whether `/v1/models` lists the id.
    pub fn ids(&self) -> impl Iterator<Item = (&str, &Model, bool)> {
        self.entries
            .iter()
            .map(|entry| (entry.id.as_str(), &entry.model, entry.advertised))
    }

    /// Returns the distinct names of the Codex models, sorted.
    pub fn codex_models(&self) -> Vec<String> {
        let mut names: Vec<_> = self
            .entries
            .iter()
            .map(|entry| entry.model.name.clone())
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue(env: &str) -> Catalogue {
        let overrides =
            ModelOverride::parse_all(r#"{"Fast":{"model":"gpt-5.5","effort":"low"}}"#).unwrap();
        Catalogue::new("gpt-5", env, overrides)
    }

    #[test]
    fn both_families_are_accepted_and_one_is_listed() {
        for (env, listed) in [("", "codex-5"), ("dev", "codev-5"), ("DEV", "codev-5")] {
            let catalogue = catalogue(env);
            let ids: Vec<_> = catalogue.advertised().collect();
            let families = ["", "-low", "-medium", "-high", "-minimal"]
                .map(|suffix| format!("{listed}{suffix}"));
            assert_eq!(ids[..5], families.each_ref().map(String::as_str));
            assert_eq!(ids[5..], ["gpt-5", "Fast"]);
            assert!(
                catalogue.find("codex-5").is_some() && catalogue.find("codev-5-high").is_some()
            );
        }
    }

    #[test]
    fn override_with_unmatchable_id_is_rejected() {
        for id in ["", " ", " fast", "fast\\n"] {
            let json = format!(r#"{{"{id}":{{}}}}"#);
            let error = ModelOverride::parse_all(&json).unwrap_err();
            assert!(error.to_string().starts_with("invalid model id"), "{error}");
        }
    }

    #[test]
    fn ids_match_ignoring_case() {
        let catalogue = catalogue("");
        let model = |name: &str, effort| {
            Some(Model {
                name: name.to_owned(),
                effort,
            })
        };
        for (id, expected) in [
            ("codex-5", model("gpt-5", None)),
            ("CODEX-5-High", model("gpt-5", Some(Effort::High))),
            (" gpt-5 ", model("gpt-5", None)),
            ("fast", model("gpt-5.5", Some(Effort::Low))),
            ("codex-5-ultra", None),
            ("", None),
        ] {
            assert_eq!(catalogue.find(id).cloned(), expected, "{id}");
        }
    }
}
