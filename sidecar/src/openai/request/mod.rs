//! Request bodies: JSON errors with the path to the field, and the fields that several routes share.

pub(super) mod body;
pub(super) mod fields;
pub(super) mod image;
mod image_data;
pub(super) mod model;
pub(super) mod output_schema;
pub(super) mod sampling;
mod strict_schema;
pub(super) mod string_or_list;
#[cfg(test)]
pub(super) mod tests;
pub(super) mod tools;
pub(super) mod validate;
