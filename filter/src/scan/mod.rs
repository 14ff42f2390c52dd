//! An incremental JSON scanner that finds the top-level `model` of a request body, chunk by chunk.
//!
//! Written by hand: serde_json and struson need the whole body or a blocking reader, but Envoy hands over one chunk a
//! callback, and the filter must not hold the body in its memory. actson is incremental, but reports and copies every
//! value; this scanner skips long strings with vector instructions and keeps 1.5 KiB at most.
//!
//! Follows RFC 8259, with the nesting limit of serde_json, which parses the body in the sidecar. For every body that
//! serde_json accepts, the result is the first top-level `model` that serde_json finds. Two checks are left to the
//! sidecar, which parses the whole body strictly and responds with 400:
//!
//! - A second `model` may follow. The filter stops at the first one; the sidecar rejects duplicate keys.
//! - Where the efforts matter (a key whose models name them), the scan goes on to the end of the body and collects each
//!   effort, also of repeated fields.
//! - Of a string that can be neither the key `model` nor its value, only the end is searched. Invalid escapes, control
//!   characters and bytes that are not UTF-8 pass there, and so do numbers too large for an `f64`. They cannot move the
//!   end of a string or of a value. Up to the model, everything else that serde_json rejects is rejected here.

mod efforts;
mod grammar;
mod nesting;
mod scanner;
#[cfg(test)]
mod tests;
mod text;

pub use efforts::EffortNames;
pub use scanner::{ModelField, ModelScanner, ScanError};
