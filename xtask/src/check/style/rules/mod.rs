//! The rules of the house style that a program can measure, a function per rule.

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

pub(super) use rule::{Figure, Limit, RULES, Rule};
