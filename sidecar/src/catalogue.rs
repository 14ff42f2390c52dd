//! The models that clients may name, and what each stands for.
//! The contract's section on configuration: `codex-5` and `codev-5` with efforts, `CODEX_MODEL` itself, `PROXY_MODELS`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::turn::{Effort, Model};

/// Ids without an effort that stand for `CODEX_MODEL`, each also with `-<effort>` behind it.
const FAMILIES: [&str; 2] = ["codex-5", "codev-5"];

/// The order in which the efforts of a family are listed.
const LISTED_EFFORTS: [Effort; 4] = [Effort::Low, Effort::Medium, Effort::High, Effort::Minimal];

/// All ids, and the default.
#[derive(Debug, Clone)]
pub struct Catalogue {
    entries: Vec<Entry>,
    default_id: String,
}

#[derive(Debug, Clone)]
struct Entry {
    id: String,
    model: Model,
    advertised: bool,
    context_window: Option<u64>,
}

/// An id of the operator's own.
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
    /// Reads `{"id": {"model": "name", "effort": "low"}}`; both fields may be left out.
    ///
    /// # Errors
    /// It is not of that shape, has an id that no request can name, or names an effort that does not exist.
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

/// White space around an id is not looked at in requests.
fn check_id(id: &str) -> Result<(), serde_json::Error> {
    if id.is_empty() || id.trim() != id {
        let text = format!("no request can name the model {id:?}");
        return Err(serde::de::Error::custom(text));
    }
    Ok(())
}

fn parse_effort(word: &str) -> Result<Effort, serde_json::Error> {
    let unknown = || {
        serde::de::Error::custom(format!(
            "unknown effort {word:?}, expected minimal, low, medium or high"
        ))
    };
    Effort::parse(word).ok_or_else(unknown)
}

impl Catalogue {
    /// The catalogue of a deployment.
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
        for family in FAMILIES {
            let listed = family == advertised;
            catalogue.add(family.to_owned(), codex_model, None, listed);
            for effort in LISTED_EFFORTS {
                let id = format!("{family}-{}", effort.as_str());
                catalogue.add(id, codex_model, Some(effort), listed);
            }
        }
        catalogue.add(codex_model.to_owned(), codex_model, None, true);
        for ModelOverride { id, model, effort } in overrides {
            catalogue.add(id, model.as_deref().unwrap_or(codex_model), effort, true);
        }
        catalogue
    }

    /// A later entry replaces an earlier one of the same id.
    fn add(&mut self, id: String, name: &str, effort: Option<Effort>, advertised: bool) {
        self.entries
            .retain(|entry| !entry.id.eq_ignore_ascii_case(&id));
        let name = name.to_owned();
        self.entries.push(Entry {
            id,
            model: Model { name, effort },
            advertised,
            context_window: None,
        });
    }

    /// Adds what Codex knows of its models: their windows in tokens, by the names that it has for them.
    pub fn learn_context_windows(&mut self, windows: &BTreeMap<String, u64>) {
        for entry in &mut self.entries {
            entry.context_window = windows.get(&entry.model.name).copied();
        }
    }

    fn entry(&self, id: &str) -> Option<&Entry> {
        let mut entries = self.entries.iter();
        entries.find(|entry| entry.id.eq_ignore_ascii_case(id.trim()))
    }

    /// What `id` stands for, without regard to case.
    pub fn find(&self, id: &str) -> Option<&Model> {
        self.entry(id).map(|entry| &entry.model)
    }

    /// The context window of what `id` stands for, in tokens, where Codex tells it.
    pub fn context_window(&self, id: &str) -> Option<u64> {
        self.entry(id)?.context_window
    }

    /// The id of a request that names none.
    pub fn default_id(&self) -> &str {
        &self.default_id
    }

    /// The ids that are shown to clients, in order.
    pub fn advertised(&self) -> impl Iterator<Item = &str> {
        self.entries
            .iter()
            .filter(|entry| entry.advertised)
            .map(|entry| entry.id.as_str())
    }

    /// All ids in order, what each stands for, and whether it is shown to clients.
    pub fn ids(&self) -> impl Iterator<Item = (&str, &Model, bool)> {
        let entries = self.entries.iter();
        entries.map(|entry| (entry.id.as_str(), &entry.model, entry.advertised))
    }

    /// The names that Codex is asked for, without repetition.
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
    fn both_families_are_accepted_everywhere_and_one_is_shown() {
        for (env, shown) in [("", "codex-5"), ("dev", "codev-5"), ("DEV", "codev-5")] {
            let catalogue = catalogue(env);
            let ids: Vec<_> = catalogue.advertised().collect();
            let families = ["", "-low", "-medium", "-high", "-minimal"]
                .map(|suffix| format!("{shown}{suffix}"));
            assert_eq!(ids[..5], families.each_ref().map(String::as_str));
            assert_eq!(ids[5..], ["gpt-5", "Fast"]);
            assert!(
                catalogue.find("codex-5").is_some() && catalogue.find("codev-5-high").is_some()
            );
        }
    }

    #[test]
    fn an_id_that_no_request_can_name_is_refused() {
        for id in ["", " ", " fast", "fast\\n"] {
            let json = format!(r#"{{"{id}":{{}}}}"#);
            let error = ModelOverride::parse_all(&json).unwrap_err();
            assert!(
                error.to_string().starts_with("no request can name"),
                "{error}"
            );
        }
    }

    #[test]
    fn ids_match_without_regard_to_case() {
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
