//! Schemas of the output, and the rules of `strict: true`.

mod output;
mod strict;

pub(in crate::openai) use output::SchemaFormat;
