//! A field that holds a string or a list of objects, which OpenAI allows in many places.
//! Deserialized by hand: serde's untagged enum would copy a long prompt once more and lose the path to a wrong part.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::body::read_objects;

/// A string, or a list of objects.
#[derive(Debug)]
pub(crate) enum StringOrList<T> {
    Text(String),
    List(Vec<T>),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for StringOrList<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StringOrListVisitor(PhantomData))
    }
}

struct StringOrListVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for StringOrListVisitor<T> {
    type Value = StringOrList<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or an array")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<StringOrList<T>, E> {
        Ok(StringOrList::Text(text.to_owned()))
    }

    // Without this, serde's default passes an owned string to `visit_str`, which copies it.
    fn visit_string<E: de::Error>(self, text: String) -> Result<StringOrList<T>, E> {
        Ok(StringOrList::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<StringOrList<T>, A::Error> {
        read_objects(list).map(StringOrList::List)
    }
}
