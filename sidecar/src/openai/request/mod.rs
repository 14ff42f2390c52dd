//! Request bodies: JSON errors with the path to the field, and the fields that several routes share.

pub(crate) mod body;
pub(crate) mod fields;
pub(crate) mod ignored;
pub(crate) mod image;
pub(crate) mod json_error;
pub(crate) mod model;
pub(crate) mod sampling;
pub(crate) mod schema;
pub(crate) mod string_or_list;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod tools;
pub(crate) mod validate;
