//! Deserializes request bodies: JSON errors with the path to the wrong field, and the paths of ignored fields.
//! Paths are written as in OpenAI's `param`, such as `messages[3].content`.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Error, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::ignored::IgnoredFields;
use super::json_error;
use crate::openai::response::error::ApiError;

/// Deserializes a body, and adds the fields that `T` does not have to `ignored`.
///
/// # Errors
/// 400 when the body is not JSON in UTF-8, or a field has the wrong type; `param` is the path of the field.
pub(crate) fn read<T: DeserializeOwned>(
    body: &[u8],
    ignored: &mut IgnoredFields,
) -> Result<T, ApiError> {
    let body = text(body)?;
    let mut json = serde_json::Deserializer::from_str(body);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
    serde_ignored::deserialize(tracked, |path| ignored.add_path(&path))
        .and_then(|Object(body): Object<T>| json.end().map(|()| body))
        .map_err(|error| json_error::rejection(&error, &track.path()))
}

/// Returns the text of a body without its byte order mark, which RFC 8259, section 8.1 allows to skip.
///
/// # Errors
/// 400 when the body is not UTF-8: serde_json does not check the fields that it skips.
pub(crate) fn text(body: &[u8]) -> Result<&str, ApiError> {
    let text = std::str::from_utf8(body).map_err(json_error::not_utf8)?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// A struct that is written as a JSON object. A derived `Deserialize` would also accept an array of the fields in
/// order.
pub(crate) struct Object<T>(pub(in crate::openai) T);

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

/// Deserializes a field that holds an object or is null.
pub(crate) fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let object = Option::<Object<T>>::deserialize(deserializer)?;
    Ok(object.map(|Object(object)| object))
}

/// Deserializes a field that holds a list of objects or is null.
pub(crate) fn objects<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    let objects = Option::<Objects<T>>::deserialize(deserializer)?;
    Ok(objects.map(|Objects(objects)| objects))
}

/// An object without meaning here; only its type is checked.
pub(crate) struct AnyObject;

impl<'de> Deserialize<'de> for AnyObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Not by a visitor of objects: the fields inside would be named as ignored, beside the object itself.
        let value = Box::<RawValue>::deserialize(deserializer)?;
        let found = match value.get().as_bytes().first() {
            Some(b'{') => return Ok(Self),
            Some(b'[') => Unexpected::Seq,
            Some(b'"') => Unexpected::Str(""),
            Some(b't') => Unexpected::Bool(true),
            Some(b'f') => Unexpected::Bool(false),
            _ => Unexpected::Other(value.get()),
        };
        Err(D::Error::invalid_type(found, &"an object"))
    }
}

/// Objects in one list. Each takes a few hundred bytes of memory for the two bytes of `{}` in the body.
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

/// Reads the objects of a list, at most [`MAX_OBJECTS`].
pub(crate) fn read_objects<'de, A: SeqAccess<'de>, T: Deserialize<'de>>(
    mut list: A,
) -> Result<Vec<T>, A::Error> {
    let mut objects = Vec::new();
    while let Some(Object(object)) = list.next_element()? {
        if objects.len() == MAX_OBJECTS {
            let text = format!("the array has more than {MAX_OBJECTS} elements");
            return Err(A::Error::custom(text));
        }
        objects.push(object);
    }
    Ok(objects)
}
