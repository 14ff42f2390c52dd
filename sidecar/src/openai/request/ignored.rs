//! The fields of a request that have no effect, for the header `x-codex-edge-ignored`.
//! A path is written as in OpenAI's `param`, without indices, so that one entry stands for all elements of a list.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_ignored::Path;

use crate::turn::{ThreadOrigin, TurnOrigin};

/// Paths in the list: bounds a header that the client's field names decide.
const MAX_PATHS: usize = 32;

/// Bytes of a path in the list.
const MAX_PATH_BYTES: usize = 64;

/// The last entry of a list that is cut.
const CUT: &str = "and more";

/// The paths of fields that have no effect.
#[derive(Debug, Clone, Default)]
pub struct IgnoredFields {
    paths: BTreeSet<String>,
    is_cut: bool,
}

impl IgnoredFields {
    /// Adds the field at `path` if `is_present`.
    pub(crate) fn add_if(&mut self, path: &str, is_present: bool) {
        if !is_present {
            return;
        }
        let path = printable(path);
        if self.paths.len() < MAX_PATHS || self.paths.contains(&path) {
            self.paths.insert(path);
        } else {
            self.is_cut = true;
        }
    }

    /// Adds a field that serde skips: one that no struct has, at any depth, or one that is read only to be named.
    pub(super) fn add_path(&mut self, path: &Path<'_>) {
        // Before the path is built: a body may have millions of unknown fields.
        if self.is_cut {
            return;
        }
        let mut text = String::new();
        write_path(path, &mut text);
        self.add_if(&text, true);
    }

    /// Removes the client's settings of the prompt cache, if the turn is on a thread for which the provider has cached the prompt.
    pub fn on_thread(&mut self, origin: &TurnOrigin) {
        if origin
            .get()
            .is_some_and(|origin| origin != ThreadOrigin::New)
        {
            self.paths
                .retain(|path| path != "prompt_cache_key" && !path.ends_with("cache_control"));
        }
    }

    /// Returns the value of `x-codex-edge-ignored`, or `None` when every field has an effect.
    pub fn list(&self) -> Option<String> {
        let cut = self.is_cut.then_some(CUT);
        let paths: Vec<_> = self.paths.iter().map(String::as_str).chain(cut).collect();
        (!paths.is_empty()).then(|| paths.join(", "))
    }
}

fn write_path(path: &Path<'_>, text: &mut String) {
    match path {
        Path::Root => {}
        Path::Seq { parent, .. } => {
            write_path(parent, text);
            text.push_str("[]");
        }
        Path::Map { parent, key } => {
            write_path(parent, text);
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(key);
        }
        Path::Some { parent }
        | Path::NewtypeStruct { parent }
        | Path::NewtypeVariant { parent } => write_path(parent, text),
    }
}

/// Escapes the bytes that a list in a header cannot hold, as in a URL (RFC 3986, section 2.1), and cuts a long path.
fn printable(path: &str) -> String {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.[]=$@:/".contains(&byte);
    let mut text = String::with_capacity(path.len().min(MAX_PATH_BYTES));
    for byte in path.bytes() {
        if text.len() >= MAX_PATH_BYTES {
            text.push_str("...");
            break;
        }
        if is_allowed(byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}"); // Writing to a `String` cannot fail.
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(paths: impl IntoIterator<Item = String>) -> String {
        let mut ignored = IgnoredFields::default();
        for path in paths {
            ignored.add_if(&path, true);
        }
        ignored.list().unwrap()
    }

    #[test]
    fn names_that_a_header_cannot_hold_are_escaped() {
        for (path, expected) in [
            ("gr\u{f6}\u{df}e", "gr%C3%B6%C3%9Fe"),
            ("my field", "my%20field"),
            ("a,b", "a%2Cb"),
            ("a\r\nb: c", "a%0D%0Ab:%20c"),
            ("100%", "100%25"),
            ("messages[].x-y_z", "messages[].x-y_z"),
        ] {
            assert_eq!(list([path.to_owned()]), expected);
        }
        let long = list(["x".repeat(1000)]);
        assert_eq!(long, format!("{}...", "x".repeat(MAX_PATH_BYTES)));
    }

    #[test]
    fn long_list_says_that_it_is_cut() {
        let names = |count: usize| (0..count).map(|number| format!("f{number:02}"));
        let whole = list(names(MAX_PATHS).chain(names(3)));
        assert!(whole.ends_with("f31"), "{whole}");
        assert_eq!(whole.split(", ").count(), MAX_PATHS);
        let cut = list(names(MAX_PATHS + 1));
        assert!(cut.ends_with("f31, and more"), "{cut}");
    }
}
