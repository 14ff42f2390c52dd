//! A request body -> fields: JSON errors that point at the place, and the fields that nobody reads.
//! The paths are those of OpenAI's `param`, such as `messages[3].content`.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;

use super::error::ApiError;

/// Names in `x-codex-edge-ignored` are listed up to this many.
const MAX_IGNORED: usize = 32;

/// Fields that were read and are not honoured, by name.
#[derive(Debug, Default)]
pub struct Ignored(BTreeSet<String>);

impl Ignored {
    /// Adds a field that is known; `present` says whether the client sent it.
    pub(super) fn note(&mut self, name: &str, present: bool) {
        if present && self.0.len() < MAX_IGNORED {
            self.0.insert(name.to_owned());
        }
    }

    /// Adds a field that nobody knows. Only those at the top: what lies deeper is a client's own affair.
    fn note_unknown(&mut self, path: &serde_ignored::Path<'_>) {
        let serde_ignored::Path::Map {
            parent: serde_ignored::Path::Root,
            key,
        } = path
        else {
            return;
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        self.note(key, key.len() <= 64 && key.chars().all(plain));
    }

    /// The value of `x-codex-edge-ignored`; `None` when all was honoured.
    pub fn list(&self) -> Option<String> {
        let names: Vec<_> = self.0.iter().map(String::as_str).collect();
        (!names.is_empty()).then(|| names.join(", "))
    }
}

/// Reads a body, and notes the fields that `T` does not have.
///
/// # Errors
/// It is not JSON, or a field has the wrong type; `param` points at it.
pub(super) fn read<T: DeserializeOwned>(body: &[u8], ignored: &mut Ignored) -> Result<T, ApiError> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
    let read = serde_ignored::deserialize(tracked, |path| ignored.note_unknown(&path));
    let read = read.and_then(|body: T| json.end().map(|()| body));
    read.map_err(|error| wrong_body(&error, &track.path()))
}

fn wrong_body(error: &serde_json::Error, path: &serde_path_to_error::Path) -> ApiError {
    match error.classify() {
        serde_json::error::Category::Data => {
            let error = ApiError::invalid(format!("{error}."));
            if path.iter().next().is_some() {
                error.at(path.to_string())
            } else {
                error
            }
        }
        serde_json::error::Category::Io
        | serde_json::error::Category::Syntax
        | serde_json::error::Category::Eof => ApiError::bad_request(
            "invalid_json",
            format!("The request body is not valid JSON: {error}."),
        ),
    }
}
