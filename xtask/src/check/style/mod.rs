//! `cargo xtask check style`: measures each crate by the house style and compares the figures with limits.
//! Each limit is within the range of linkerd2-proxy, hyper, ripgrep and axum.

mod figure;
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

pub(crate) use run::{StyleArgs, style};
