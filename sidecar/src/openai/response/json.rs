//! Serialization of response bodies.

use serde::Serialize;

/// Serializes a body. The types of `openai` have string keys and no fallible parts, so this cannot fail.
pub(crate) fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("the types of response bodies always serialise")
}
