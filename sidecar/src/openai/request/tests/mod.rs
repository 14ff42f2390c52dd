//! Test support for request bodies: the check of `docs/fields.md`.

pub(in crate::openai) mod fields_table;
