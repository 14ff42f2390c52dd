//! The scanner finds the same model as serde_json, for any division of the body into chunks.
//! `filter/src/scan/mod.rs` lists the checks that the scanner leaves to the sidecar's parser.

use filter::scan::{ModelField, ModelScanner, ScanError};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::error::Category;

/// Maximum bytes of a model name in the catalogue.
const MAX_MODEL_BYTES: usize = 256;

pub(crate) fn check(body: &[u8]) {
    let mut scanner = ModelScanner::default();
    let is_early = scanner.feed(body).is_some();
    let finding = scanner.finish();
    for size in [1, 2, 7, 64, 65] {
        assert_eq!(
            scan(body.chunks(size)),
            finding,
            "in chunks of {size} bytes"
        );
    }
    match serde_json::from_slice(body) {
        Ok(FirstModel(model)) => assert_eq!(finding, expected(model)),
        // Invalid text inside a string is rejected by the sidecar; an incomplete body must be rejected by the filter.
        Err(error) if error.classify() == Category::Eof && !is_early && !ends_in_escape(body) => {
            assert!(
                matches!(finding, ModelField::Invalid(_)),
                "{finding:?} of an incomplete body"
            );
        }
        Err(_) => {}
    }
}

/// Whether the last bytes may be an escape that lacks digits. serde_json reports such a body as incomplete, because it
/// looks for digits beyond the string's end.
fn ends_in_escape(body: &[u8]) -> bool {
    let last = body.len().saturating_sub(br"\u000".len());
    body[last..].windows(2).any(|pair| pair == br"\u")
}

fn scan<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> ModelField {
    let mut scanner = ModelScanner::default();
    for chunk in chunks {
        scanner.feed(chunk);
    }
    scanner.finish()
}

fn expected(model: Option<Value>) -> ModelField {
    match model {
        None | Some(Value::Null) => ModelField::Missing,
        Some(Value::String(model)) if model.len() > MAX_MODEL_BYTES => {
            ModelField::Invalid(ScanError::TooLong)
        }
        Some(Value::String(model)) => ModelField::Named(model),
        Some(_) => ModelField::Invalid(ScanError::NotAString),
    }
}

/// The first top-level `model` of an object.
struct FirstModel(Option<Value>);

impl<'de> Deserialize<'de> for FirstModel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FirstModel(None))
    }
}

impl<'de> Visitor<'de> for FirstModel {
    type Value = Self;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        while let Some((key, value)) = map.next_entry::<String, Value>()? {
            if key == "model" {
                self.0.get_or_insert(value);
            }
        }
        Ok(self)
    }
}
