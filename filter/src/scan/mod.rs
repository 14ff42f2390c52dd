//! The incremental scan for the model that a request body names, over chunks as Envoy hands them over.
//! JSON as RFC 8259 has it, read as strictly as serde_json reads it, for that is what parses the body in the sidecar.
//!
//! Who feeds the scanner may stop at the first finding, which is about the first `model` of the object. That is
//! safe because the sidecar parses the whole body and refuses a second `model`, so that nobody acts on another one.
//!
//! Up to the finding, a body that serde_json refuses is refused here too, with three exceptions. They cannot move
//! the end of a string or of a value, and the sidecar refuses them: octets that are not UTF-8 and lone surrogates
//! in strings other than the model, and numbers that no `f64` can hold.

mod grammar;
mod nesting;

mod scanner;
mod text;

pub use scanner::{Fault, Finding, ModelScanner};
