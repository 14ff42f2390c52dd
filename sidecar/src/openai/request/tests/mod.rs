//! Test support for request bodies: the check of `docs/fields.md`.

pub(crate) mod fields_table;
