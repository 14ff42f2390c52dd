//! `/v1/models`: the ids that a client may use.
//! OpenAI API reference, "Models", and what clients read beyond it: the context window, for which it has no field.

use serde::Serialize;

use super::response::error::ApiError;
use crate::catalogue::Catalogue;
use crate::turn::Model;

/// The catalogue as one client may see it.
#[derive(Debug, Clone, Copy)]
pub struct ModelAccess<'a> {
    catalogue: &'a Catalogue,
    /// Patterns of the client's key, separated by commas; `None` allows all.
    patterns: Option<&'a str>,
    required: bool,
}

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    id: &'a str,
    object: &'static str,
    owned_by: &'static str,
    created: u64,
    /// Left out where Codex does not tell it: a client's own guess is better than ours.
    #[serde(flatten)]
    window: Option<Window>,
}

/// One number, in tokens, by each of the names that clients look for.
#[derive(Serialize)]
struct Window {
    /// Codex's own and Groq's.
    context_window: u64,
    /// OpenRouter's.
    context_length: u64,
    /// vLLM's.
    max_model_len: u64,
}

impl From<u64> for Window {
    fn from(tokens: u64) -> Self {
        Self {
            context_window: tokens,
            context_length: tokens,
            max_model_len: tokens,
        }
    }
}

impl<'a> ModelAccess<'a> {
    /// What a client whose key has `patterns` sees of `catalogue`.
    pub fn new(catalogue: &'a Catalogue, patterns: Option<&'a str>) -> Self {
        Self {
            catalogue,
            patterns,
            required: false,
        }
    }

    /// Whether each request has to name a model, as with OpenAI.
    #[must_use]
    pub fn required(self, required: bool) -> Self {
        Self { required, ..self }
    }

    /// The id to answer with and the model that it stands for; no id is the default one, unless one is required.
    ///
    /// # Errors
    /// The id is missing, unknown, or the client's key does not include it. The filter says the last two at the edge.
    pub fn resolve(&self, id: Option<&str>) -> Result<(String, Model), ApiError> {
        if id.is_none() && self.required {
            let text = "A request names a model; GET /v1/models lists them.";
            return Err(ApiError::invalid(text).at("model"));
        }
        let id = id.unwrap_or(self.catalogue.default_id());
        let model = self
            .catalogue
            .find(id)
            .ok_or_else(|| ApiError::model_not_found(id))?;
        if self.allows(id) {
            Ok((id.to_owned(), model.clone()))
        } else {
            Err(ApiError::model_not_allowed(id))
        }
    }

    /// The body of `GET /v1/models`.
    pub fn list(&self) -> Vec<u8> {
        let data = self
            .catalogue
            .advertised()
            .filter(|id| self.allows(id))
            .map(|id| self.entry(id));
        to_json(&List {
            object: "list",
            data: data.collect(),
        })
    }

    /// The body of `GET /v1/models/{id}`.
    ///
    /// # Errors
    /// The id is unknown, or not this client's.
    pub fn one(&self, id: &str) -> Result<Vec<u8>, ApiError> {
        match self.resolve(Some(id)) {
            Ok((id, _)) => Ok(to_json(&self.entry(&id))),
            Err(_unknown_or_not_allowed) => Err(ApiError::model_not_found(id)),
        }
    }

    fn entry<'id>(&self, id: &'id str) -> Entry<'id> {
        Entry {
            id,
            object: "model",
            owned_by: "codex",
            created: 0,
            window: self.catalogue.context_window(id).map(Window::from),
        }
    }

    fn allows(&self, id: &str) -> bool {
        let Some(patterns) = self.patterns else {
            return true;
        };
        let id = id.trim().to_ascii_lowercase();
        patterns
            .split(',')
            .any(|pattern| glob(&pattern.trim().to_ascii_lowercase(), &id))
    }
}

/// Whether `text` matches `pattern`, in which `*` stands for anything.
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

fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("strings and numbers always serialise")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_sees_what_it_may_use() {
        let catalogue = Catalogue::new("gpt-5", "", Vec::new());
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
            let access = ModelAccess::new(&catalogue, patterns);
            assert_eq!(
                access.resolve(Some(id)).is_ok(),
                allowed,
                "{patterns:?} {id}"
            );
            assert_eq!(access.one(id).is_ok(), allowed, "{patterns:?} {id}");
        }
    }

    #[test]
    fn the_list_has_openais_shape() {
        let catalogue = Catalogue::new("gpt-5", "", Vec::new());
        let body = ModelAccess::new(&catalogue, Some("gpt-5")).list();
        let expected = r#"{"object":"list","data":[{"id":"gpt-5","object":"model","owned_by":"codex","created":0}]}"#;
        assert_eq!(String::from_utf8(body).unwrap(), expected);
    }
}
