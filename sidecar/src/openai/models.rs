//! `/v1/models`: the models that a client may use. The filter has a glob of its own for the same patterns: the sidecar
//! links the filter for `--check` only, and ten lines are less than a dependency (`wildmatch`).
//! OpenAI API reference, "Models"; the context window is an extension that clients read.

use std::sync::{Arc, LazyLock};

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::IgnoredFields;
use super::request::model::RequestedModel;
use super::response::error::ApiError;
use super::response::id::unix_seconds;
use super::response::json::to_json;
use crate::catalogue::{Catalogue, CatalogueId};
use crate::turn::{Effort, Model};

/// The start of the sidecar, in seconds since the epoch: Codex does not say when a model was created, and clients show 0
/// as a date.
static AVAILABLE_SINCE: LazyLock<u64> = LazyLock::new(unix_seconds);

/// Returns the start of the sidecar as in RFC 3339.
pub(crate) fn available_since() -> String {
    i64::try_from(*AVAILABLE_SINCE)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| "1970-01-01T00:00:00Z".to_owned())
}

/// The models of the catalogue that one client may use.
#[derive(Debug, Clone)]
pub struct ModelAccess<'a> {
    catalogue: Arc<Catalogue>,
    /// Patterns of the client's key, separated by commas; `None` allows every model.
    patterns: Option<&'a str>,
    required: bool,
}

#[derive(Serialize)]
struct ModelList<'a> {
    object: &'static str,
    data: Vec<ModelEntry<'a>>,
}

#[derive(Serialize)]
struct ModelEntry<'a> {
    id: &'a str,
    object: &'static str,
    owned_by: &'static str,
    created: u64,
    /// Absent when Codex does not report the window: clients have tables of their own for that.
    #[serde(flatten)]
    window: Option<ContextWindow>,
}

impl<'a> From<CatalogueId<'a>> for ModelEntry<'a> {
    fn from(id: CatalogueId<'a>) -> Self {
        let window = window(&id);
        Self {
            id: id.id,
            object: "model",
            owned_by: "codex",
            created: *AVAILABLE_SINCE,
            window: window.map(ContextWindow::from),
        }
    }
}

/// The context window in tokens, under each name that clients read.
#[derive(Serialize)]
struct ContextWindow {
    /// The name of Codex and Groq.
    context_window: u64,
    /// The name of OpenRouter.
    context_length: u64,
    /// The name of vLLM.
    max_model_len: u64,
}

impl From<u64> for ContextWindow {
    fn from(tokens: u64) -> Self {
        Self {
            context_window: tokens,
            context_length: tokens,
            max_model_len: tokens,
        }
    }
}

fn window(id: &CatalogueId<'_>) -> Option<u64> {
    id.codex_model?.context_window
}

impl<'a> ModelAccess<'a> {
    /// Returns the access of a client to `catalogue`; `patterns` are those of its key.
    pub fn new(catalogue: Arc<Catalogue>, patterns: Option<&'a str>) -> Self {
        Self {
            catalogue,
            patterns,
            required: false,
        }
    }

    /// Sets whether each request must name a model, as with OpenAI.
    #[must_use]
    pub fn required(self, required: bool) -> Self {
        Self { required, ..self }
    }

    /// Returns the id for the response, and the model with the settings of the request. Settings that the model does not
    /// have are added to `ignored`.
    ///
    /// # Errors
    /// 400 for a missing id and for an effort that the model does not have, 404 for an unknown id, 403 for an id, or an
    /// effort with that id, that the client's key does not include. With Envoy in front, the filter has already rejected
    /// the ids, and the efforts that it can judge by the name of the id.
    pub fn resolve(
        &self,
        requested: &RequestedModel<'_>,
        ignored: &mut IgnoredFields,
    ) -> Result<(String, Model), ApiError> {
        if requested.id.is_none() && self.required {
            let text = "`model` is required. GET /v1/models lists the available models.";
            return Err(ApiError::invalid(text).at("model"));
        }
        let id = self.find(requested.id.unwrap_or(self.catalogue.default_id()))?;
        let model = requested.settings(&id, ignored)?;
        // Every field, not only the one that wins: the filter cannot know which one does.
        for effort in &requested.efforts {
            if !self.allows_effort(&id, &effort.value) {
                return Err(ApiError::effort_not_allowed(id.id, effort.value.as_str()));
            }
        }
        Ok((id.id.to_owned(), model))
    }

    fn find<'id>(&'id self, id: &'id str) -> Result<CatalogueId<'id>, ApiError> {
        let found = self
            .catalogue
            .find(id)
            .ok_or_else(|| ApiError::model_not_found(id))?;
        // After the lookup: an unknown model is a 404 for every key.
        if self.allows(id) {
            Ok(found)
        } else {
            Err(ApiError::model_not_allowed(id))
        }
    }

    /// Returns each model of the list as `describe` shapes it, from its id and its context window.
    pub(crate) fn visible<T>(&self, describe: impl Fn(&str, Option<u64>) -> T) -> Vec<T> {
        self.catalogue
            .ids()
            .filter(|id| id.is_listed && self.allows(id.id))
            .map(|id| describe(id.id, window(&id)))
            .collect()
    }

    /// Returns the model `id` as `describe` shapes it.
    ///
    /// # Errors
    /// As for [`Self::one`].
    pub(crate) fn usable<T>(
        &self,
        id: &str,
        describe: impl Fn(&str, Option<u64>) -> T,
    ) -> Result<T, ApiError> {
        match self.find(id) {
            Ok(id) => Ok(describe(id.id, window(&id))),
            Err(_unknown_or_not_allowed) => Err(ApiError::model_not_found(id)),
        }
    }

    /// Returns the body of `GET /v1/models`.
    pub fn list(&self) -> Vec<u8> {
        let data = self
            .catalogue
            .ids()
            .filter(|id| id.is_listed && self.allows(id.id))
            .map(ModelEntry::from);
        to_json(&ModelList {
            object: "list",
            data: data.collect(),
        })
    }

    /// Returns the body of `GET /v1/models/{id}`.
    ///
    /// # Errors
    /// 404 for an unknown id and for one that the client may not use, so that the response does not reveal the id.
    pub fn one(&self, id: &str) -> Result<Vec<u8>, ApiError> {
        match self.find(id) {
            Ok(id) => Ok(to_json(&ModelEntry::from(id))),
            Err(_unknown_or_not_allowed) => Err(ApiError::model_not_found(id)),
        }
    }

    /// Returns the efforts of a model, the lowest first; `None` where the provider decides.
    pub(crate) fn efforts(&self, id: Option<&str>) -> Option<Vec<Effort>> {
        let id = id.unwrap_or(self.catalogue.default_id());
        let efforts = self.catalogue.find(id)?.efforts;
        efforts.map(<[Effort]>::to_vec)
    }

    /// Returns the tokens of a model's context window, if Codex reported them.
    pub(crate) fn context_window(&self, id: &str) -> Option<u64> {
        self.catalogue.find(id)?.codex_model?.context_window
    }

    /// Whether the client's key allows `effort` in a request for `id`: the pair is the id `<id>-<effort>`, and the effort
    /// replaces one that `id` selects itself (`codex-5-low` with `high` is `codex-5-high`). A plain id without such a
    /// variant in this deployment decides alone.
    fn allows_effort(&self, id: &CatalogueId<'_>, effort: &Effort) -> bool {
        let used = id.used_effort(effort);
        let stem = match id.effort {
            Some(own) if id.used_effort(own) == used => return true,
            Some(own) => without_suffix(id.id, own.as_str()),
            None => id.id,
        };
        // By both names, since an effort below the lowest means the lowest.
        let mut variants = [Some(effort), used]
            .into_iter()
            .flatten()
            .map(|effort| format!("{stem}-{}", effort.as_str()));
        let is_alone =
            id.effort.is_none() && !variants.clone().any(|variant| self.catalogue.has(&variant));
        is_alone || variants.any(|variant| self.allows(&variant))
    }

    fn allows(&self, id: &str) -> bool {
        let Some(patterns) = self.patterns else {
            return true;
        };
        // Ids are matched in any case, so the patterns are too; the filter does the same.
        let id = id.trim().to_ascii_lowercase();
        patterns
            .split(',')
            .any(|pattern| glob(&pattern.trim().to_ascii_lowercase(), &id))
    }
}

/// Returns `id` without `-<effort>` at its end.
fn without_suffix<'a>(id: &'a str, effort: &str) -> &'a str {
    let stem = id.len().checked_sub(effort.len() + 1);
    match stem.and_then(|at| id.split_at_checked(at)) {
        Some((stem, end)) if end.starts_with('-') && end[1..].eq_ignore_ascii_case(effort) => stem,
        Some(_) | None => id,
    }
}

/// Whether `text` matches `pattern`, in which `*` matches any characters.
fn glob(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, tail)) => text.strip_prefix(head).is_some_and(|rest| {
            (0..=rest.len())
                .filter(|at| rest.is_char_boundary(*at))
                .any(|at| glob(tail, &rest[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{CatalogueSettings, CodexModels, ModelOverride};
    use crate::openai::request::model::efforts;

    #[test]
    fn patterns_decide_which_models_a_key_may_use() {
        let catalogue = Catalogue::of_model("gpt-5");
        for (patterns, id, allowed) in [
            (None, "codex-5", true),
            (Some("codex-5*"), "CODEX-5-high", true),
            (Some("gpt-*,codex-5"), "codex-5", true),
            (Some("gpt-*,codex-5"), "codex-5-low", false),
            (Some("*-low"), "codex-5-low", true),
            (Some("*5*w"), "codex-5-low", true),
            (Some(""), "codex-5", false),
            (None, "unknown", false),
        ] {
            let access = ModelAccess::new(Arc::clone(&catalogue), patterns);
            let requested = RequestedModel {
                id: Some(id),
                ..RequestedModel::default()
            };
            let resolved = access.resolve(&requested, &mut IgnoredFields::default());
            assert_eq!(resolved.is_ok(), allowed, "{patterns:?} {id}");
            assert_eq!(access.one(id).is_ok(), allowed, "{patterns:?} {id}");
        }
    }

    #[test]
    fn an_effort_in_the_body_needs_the_id_that_stands_for_the_pair() {
        let added = r#"{"fast": {"model": "gpt-5", "effort": "low"}, "plain": {"model": "gpt-5"}}"#;
        let settings = CatalogueSettings {
            overrides: ModelOverride::parse_all(added).unwrap(),
            ..CatalogueSettings::default()
        };
        let names = ["low", "medium", "high"].into_iter();
        let all = names.filter_map(Effort::parse).collect();
        let models = CodexModels::without_list("gpt-5", all);
        let catalogue = Arc::new(Catalogue::new(&settings, models));
        for (patterns, id, effort, allowed) in [
            (None, "codex-5-low", "high", true),
            (Some("*-low"), "codex-5-low", "low", true),
            (Some("*-low"), "codex-5-low", "LOW", true),
            (Some("*-low"), "codex-5-low", "high", false),
            (Some("*-low"), "CODEX-5-Low", "high", false),
            (Some("*-low"), "codev-5-low", "medium", false),
            (Some("*-low"), "codex-5-low", "minimal", true),
            (Some("*-minimal"), "codex-5-minimal", "low", true),
            (Some("*-minimal"), "codex-5-minimal", "none", true),
            (Some("*-minimal"), "codex-5-minimal", "medium", false),
            (Some("*-high"), "codex-5-high", "low", false),
            (Some("*-low,*-high"), "codex-5-low", "high", true),
            (Some("*-low,*-high"), "codex-5-low", "medium", false),
            (Some("codex-5*"), "codex-5", "high", true),
            (Some("codex-5"), "codex-5", "high", false),
            (Some("codex-5,*-low"), "codex-5", "low", true),
            (Some("codex-5,*-low"), "codex-5", "minimal", true),
            (Some("codex-5,*-low"), "codex-5", "high", false),
            (Some("gpt-5"), "gpt-5", "high", true),
            (Some("fast"), "fast", "low", true),
            (Some("fast"), "fast", "high", false),
            (Some("fast,gpt-5"), "fast", "high", false),
            (Some("fast*"), "fast", "high", true),
            (Some("plain"), "plain", "high", true),
        ] {
            let access = ModelAccess::new(Arc::clone(&catalogue), patterns);
            for field in ["reasoning_effort", "reasoning.effort"] {
                let second = (field, Some(effort));
                // The first field wins, and the second is checked too.
                let own = catalogue.find(id).unwrap().effort.map(Effort::as_str);
                for fields in [[(field, None), second], [(field, own), second]] {
                    let requested = RequestedModel {
                        id: Some(id),
                        efforts: efforts(fields).unwrap(),
                        ..RequestedModel::default()
                    };
                    let resolved = access.resolve(&requested, &mut IgnoredFields::default());
                    assert_eq!(resolved.is_ok(), allowed, "{patterns:?} {id} {effort}");
                }
            }
        }
    }

    #[test]
    fn the_list_has_the_shape_of_openai() {
        let catalogue = Catalogue::of_model("gpt-5");
        let body = ModelAccess::new(catalogue, Some("gpt-5")).list();
        let created = *AVAILABLE_SINCE;
        assert!(created > 1_700_000_000, "a date that clients can show");
        let expected = format!(
            r#"{{"object":"list","data":[{{"id":"gpt-5","object":"model","owned_by":"codex","created":{created}}}]}}"#
        );
        assert_eq!(String::from_utf8(body).unwrap(), expected);
    }
}
