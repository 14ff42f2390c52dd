//! A request body -> fields: JSON errors that point at the place, and the fields that nobody reads.
//! The paths are those of OpenAI's `param`, such as `messages[3].content`.

use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::openai::response::error::ApiError;

/// Names in `x-codex-edge-ignored` are listed up to this many.
const MAX_IGNORED: usize = 32;

/// Fields that were read and are not honoured, by name.
#[derive(Debug, Default)]
pub struct Ignored(BTreeSet<String>);

impl Ignored {
    /// Adds a field that is known; `present` says whether the client sent it.
    pub(in crate::openai) fn note(&mut self, name: &str, present: bool) {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-.[]=".contains(c);
        let is_plain = name.len() <= 64 && name.chars().all(plain);
        if present && is_plain && self.0.len() < MAX_IGNORED {
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
        self.note(key, true);
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
/// It is not JSON in UTF-8, or a field has the wrong type; `param` points at it.
pub(in crate::openai) fn read<T: DeserializeOwned>(
    body: &[u8],
    ignored: &mut Ignored,
) -> Result<T, ApiError> {
    // A field that nobody reads would otherwise be passed over with whatever bytes it has.
    let body = std::str::from_utf8(body).map_err(|error| invalid_json(&error))?;
    let mut json = serde_json::Deserializer::from_str(body);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
    let read = serde_ignored::deserialize(tracked, |path| ignored.note_unknown(&path));
    let read = read.and_then(|Object(body): Object<T>| json.end().map(|()| body));
    read.map_err(|error| wrong_body(&error, &track.path()))
}

/// A struct as JSON writes it. What serde derives would take an array of its fields too, in their order.
pub(in crate::openai) struct Object<T>(pub(in crate::openai) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

/// A field that holds an object, or nothing.
pub(in crate::openai) fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let object = Option::<Object<T>>::deserialize(deserializer)?;
    Ok(object.map(|Object(object)| object))
}

/// A field that holds a list of objects, or nothing.
pub(in crate::openai) fn objects<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    let objects = Option::<Objects<T>>::deserialize(deserializer)?;
    Ok(objects.map(|Objects(objects)| objects))
}

/// Objects in one list. A small body must not become a large one by what each of its braces takes in memory.
const MAX_OBJECTS: usize = 16_384;

/// A list of objects.
struct Objects<T>(Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Objects<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectsVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectsVisitor<T> {
            type Value = Objects<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Objects<T>, A::Error> {
                read_objects(list).map(Objects)
            }
        }

        deserializer.deserialize_seq(ObjectsVisitor(PhantomData))
    }
}

/// The objects of a list, up to a number that no client needs.
pub(in crate::openai) fn read_objects<'de, A: SeqAccess<'de>, T: Deserialize<'de>>(
    mut list: A,
) -> Result<Vec<T>, A::Error> {
    let mut objects = Vec::new();
    while let Some(Object(object)) = list.next_element()? {
        if objects.len() == MAX_OBJECTS {
            let text = format!("more than {MAX_OBJECTS} elements are too many");
            return Err(serde::de::Error::custom(text));
        }
        objects.push(object);
    }
    Ok(objects)
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
        | serde_json::error::Category::Eof => invalid_json(error),
    }
}

fn invalid_json(error: &impl fmt::Display) -> ApiError {
    let text = format!("The request body is not valid JSON: {error}.");
    ApiError::bad_request("invalid_json", text)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Known {
        #[expect(dead_code, reason = "its type is what counts")]
        known: Option<Value>,
    }

    #[test]
    fn bytes_that_are_no_text_are_refused_in_a_field_that_nobody_reads() {
        for body in [&b"{\"known\":\"\xff\"}"[..], b"{\"unknown\":\"\xff\"}"] {
            let error = read::<Known>(body, &mut Ignored::default()).unwrap_err();
            let expected =
                "The request body is not valid JSON: invalid utf-8 sequence of 1 bytes from index";
            assert_eq!(error.code(), "invalid_json");
            assert!(error.inner().message.starts_with(expected), "{error:?}");
        }
    }
}
