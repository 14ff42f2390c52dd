//! Request bodies: JSON errors with the place, and the fields that several routes share.

pub(super) mod body;
pub(super) mod fields;
#[cfg(test)]
pub(super) mod fields_table;
pub(super) mod image;
pub(super) mod sampling;
pub(super) mod string_or_list;
pub(super) mod tools;
