//! Request bodies: JSON errors with the path to the field, and the fields that several routes share.

pub(super) mod body;
pub(super) mod fields;
pub(super) mod ignored;
pub(super) mod image;
mod json_error;
pub(super) mod model;
pub(super) mod sampling;
pub(super) mod schema;
pub(super) mod string_or_list;
#[cfg(test)]
pub(super) mod tests;
pub(super) mod tools;
pub(super) mod validate;
