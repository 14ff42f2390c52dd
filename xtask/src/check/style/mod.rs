//! `cargo xtask check style`: measures the rules of the house style that a program can measure, per crate, with limits.
//! The limits are the range that linkerd2-proxy, hyper, ripgrep, axum and other projects of this kind keep.

mod members;
mod module_tree;
mod report;
mod rules;
mod run;
mod source;
#[cfg(test)]
mod tests;
mod tokens;
mod words;

pub(crate) use run::{StyleArgs, style, style_as_configured};
