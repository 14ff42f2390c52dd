//! Requests that Codex sends: checked as the Responses API checks them, and recorded for the tests.

mod limits;
mod model_request;
mod recorder;

pub use limits::ServedModels;
pub(crate) use model_request::{ModelRequest, tokens_of};
pub use recorder::{Delivery, RecordedRequest};
pub(crate) use recorder::{Recorder, RecordingGuard, epoch};
