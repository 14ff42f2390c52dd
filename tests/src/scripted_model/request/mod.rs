//! Requests that Codex sends: checked as the Responses API checks them, and recorded for the tests.

mod model_request;
mod recorder;

pub(crate) use model_request::{ModelRequest, tokens_of};
pub use recorder::{Delivery, RecordedRequest};
pub(crate) use recorder::{Recorder, RecordingGuard, epoch};
