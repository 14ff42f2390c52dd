//! Changes of `keys` in the text of the filter's configuration, which keep every other byte.

use std::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;

/// The configuration, as far as this command knows it.
#[derive(Deserialize)]
struct PluginConfig<'a> {
    #[serde(borrow)]
    keys: Option<Vec<&'a RawValue>>,
}

/// A key of the configuration.
#[derive(Debug, Deserialize)]
pub(super) struct ListedKey {
    pub(super) id: Option<String>,
    #[serde(default)]
    pub(super) disabled: bool,
    #[serde(default)]
    pub(super) admin: bool,
    pub(super) budget: Option<String>,
    pub(super) models: Option<Vec<String>>,
    pub(super) profile: Option<String>,
    pub(super) expires_at: Option<String>,
}

/// A configuration that cannot be changed.
#[derive(Debug, thiserror::Error)]
pub(super) enum EditError {
    #[error("the configuration is not a JSON object with a list `keys`")]
    Shape(#[source] serde_json::Error),
    #[error("no key has the id {0:?}")]
    Unknown(String),
}

/// Returns the keys in their order.
pub(super) fn keys(config: &str) -> Result<Vec<ListedKey>, EditError> {
    let parse = |raw: &&RawValue| serde_json::from_str(raw.get()).map_err(EditError::Shape);
    elements(config)?
        .unwrap_or_default()
        .iter()
        .map(parse)
        .collect()
}

/// Returns the configuration with one more key.
pub(super) fn with_key(config: &str, entry: &str) -> Result<String, EditError> {
    let elements = elements(config)?;
    let (at, text) = match elements.as_deref() {
        Some([.., last]) => {
            let range = range_of(config, last);
            // On a line of its own where the last one is.
            let line_start = config[..range.start].rfind('\n').map_or(0, |at| at + 1);
            let before = &config[line_start..range.start];
            let is_alone = line_start > 0 && before.trim().is_empty();
            let separator = if is_alone {
                format!(",\n{before}")
            } else {
                ", ".to_owned()
            };
            (range.end, format!("{separator}{entry}"))
        }
        Some([]) => {
            let (open, _) = empty_list(config);
            (open, entry.to_owned())
        }
        None => {
            let end = config.rfind('}').unwrap_or(config.len());
            let members = config[..end].trim_end();
            let separator = if members.ends_with('{') { "" } else { ", " };
            (members.len(), format!("{separator}\"keys\": [{entry}]"))
        }
    };
    Ok(format!("{}{text}{}", &config[..at], &config[at..]))
}

/// Returns the configuration with a key disabled.
pub(super) fn with_disabled(config: &str, id: &str) -> Result<String, EditError> {
    for raw in elements(config)?.unwrap_or_default() {
        let key: ListedKey = serde_json::from_str(raw.get()).map_err(EditError::Shape)?;
        if key.id.as_deref() != Some(id) {
            continue;
        }
        let range = range_of(config, raw);
        let entry = if key.disabled {
            raw.get().to_owned()
        } else {
            disabled(raw.get())?
        };
        return Ok(format!(
            "{}{entry}{}",
            &config[..range.start],
            &config[range.end..]
        ));
    }
    Err(EditError::Unknown(id.to_owned()))
}

fn disabled(entry: &str) -> Result<String, EditError> {
    #[derive(Deserialize)]
    struct Flag<'a> {
        #[serde(borrow)]
        disabled: Option<&'a RawValue>,
    }
    let flag: Flag<'_> = serde_json::from_str(entry).map_err(EditError::Shape)?;
    let (range, text) = match flag.disabled {
        Some(flag) => (range_of(entry, flag), "true"),
        None => {
            let end = entry[..entry.len() - 1].trim_end().len();
            (end..end, ", \"disabled\": true")
        }
    };
    Ok(format!(
        "{}{text}{}",
        &entry[..range.start],
        &entry[range.end..]
    ))
}

fn elements(config: &str) -> Result<Option<Vec<&RawValue>>, EditError> {
    let config: PluginConfig<'_> = serde_json::from_str(config).map_err(EditError::Shape)?;
    Ok(config.keys)
}

/// Returns the place of the inside of an empty list `keys`.
fn empty_list(config: &str) -> (usize, usize) {
    #[derive(Deserialize)]
    struct Keys<'a> {
        #[serde(borrow)]
        keys: &'a RawValue,
    }
    let keys: Keys<'_> = serde_json::from_str(config).expect("`elements` has read it");
    let range = range_of(config, keys.keys);
    (range.start + 1, range.end - 1)
}

/// Returns the place of a value in the text that it was read from.
fn range_of(text: &str, raw: &RawValue) -> Range<usize> {
    let start = raw.get().as_ptr().addr() - text.as_ptr().addr();
    start..start + raw.get().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_is_added_where_the_others_are() {
        for (config, expected) in [
            ("{}", r#"{"keys": [NEW]}"#),
            (
                r#"{"hold_headers": true}"#,
                r#"{"hold_headers": true, "keys": [NEW]}"#,
            ),
            (r#"{"keys": [], "x": 1}"#, r#"{"keys": [NEW], "x": 1}"#),
            (
                r#"{"keys": [{"id": "a]}"}], "x": [{}]}"#,
                r#"{"keys": [{"id": "a]}"}, NEW], "x": [{}]}"#,
            ),
            (
                "{\n  \"keys\": [\n    {\"id\": \"a\"}\n  ]\n}\n",
                "{\n  \"keys\": [\n    {\"id\": \"a\"},\n    NEW\n  ]\n}\n",
            ),
            ("{\n  \"a\": 1\n}\n", "{\n  \"a\": 1, \"keys\": [NEW]\n}\n"),
        ] {
            assert_eq!(with_key(config, "NEW").unwrap(), expected);
        }
        for config in ["", "[]", r#"{"keys": 1}"#] {
            assert!(with_key(config, "NEW").is_err(), "{config}");
        }
    }

    #[test]
    fn key_is_disabled_in_its_place() {
        for (entry, expected) in [
            (r#"{"id": "a"}"#, r#"{"id": "a", "disabled": true}"#),
            (
                r#"{"disabled" :false, "id": "a" }"#,
                r#"{"disabled" :true, "id": "a" }"#,
            ),
            (
                r#"{"id": "a", "disabled": true}"#,
                r#"{"id": "a", "disabled": true}"#,
            ),
        ] {
            let config = format!(r#"{{"keys": [{{"id": "b"}}, {entry}]}}"#);
            let expected = format!(r#"{{"keys": [{{"id": "b"}}, {expected}]}}"#);
            assert_eq!(with_disabled(&config, "a").unwrap(), expected);
        }
        let unknown = with_disabled(r#"{"keys": [{"id": "b"}]}"#, "a");
        assert!(matches!(unknown, Err(EditError::Unknown(_))), "{unknown:?}");
    }
}
