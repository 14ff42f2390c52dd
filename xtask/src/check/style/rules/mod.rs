//! The measured rules of the house style, a function per rule.

mod comments;
mod cycles;
mod folders;
mod graph;
mod imports;
mod indexes;
mod negations;
mod rule;
mod shadowing;
mod type_names;
mod wording;

pub(super) use rule::{Limit, RULES, Rule, Verdict};
