//! The incremental scan for the model that a request body names, over chunks as Envoy hands them over.
//! JSON as RFC 8259 has it, nested no deeper than serde_json allows, for that is what parses the body in the sidecar.
//!
//! About every body that serde_json accepts, the finding is the one that serde_json leads to: the first top-level
//! `model`. Two things rest on the sidecar, which parses the whole body strictly and answers 400:
//!
//! - A second `model` may follow. Who feeds the scanner stops at the first one; the sidecar refuses duplicate keys.
//! - Of a string that can be neither the key `model` nor its value, only the end is looked for. Wrong escapes, control
//!   characters and octets that are not UTF-8 pass there, and so do numbers too large for an `f64`. None of them
//!   moves the end of a string or of a value. Up to the finding, all else that serde_json refuses is refused here.

mod grammar;
mod nesting;
mod scanner;
#[cfg(test)]
mod tests;
mod text;

pub use scanner::{Fault, Finding, ModelScanner};
