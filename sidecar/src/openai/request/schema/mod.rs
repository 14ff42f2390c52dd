//! Schemas of the output, with the rules of `strict: true`, and of the arguments of tools.

mod output;
mod parameters;
mod strict;

pub(crate) use output::SchemaFormat;
pub(super) use parameters::{InvalidSchema, fit};
