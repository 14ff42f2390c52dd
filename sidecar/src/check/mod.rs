//! `sidecar --check`: reports whether the sidecar would start, with a remedy for each problem, and the command of a child.
//!
//! The check calls the functions of a real start, but starts no worker, takes no lock or address of a running sidecar,
//! and leaves no file behind.

mod codex;
mod report;
mod resources;
mod run;
mod state;
mod variables;

pub use report::{CheckReport, ChildCommand, Diagnostic, Severity};
pub use run::run;
