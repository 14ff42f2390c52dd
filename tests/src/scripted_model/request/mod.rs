//! Requests that Codex sends: checked as the Responses API checks them, and recorded for the tests.

mod limits;
mod model_request;
mod prompt;
mod recorder;

pub use limits::ServedModels;
pub(crate) use model_request::ModelRequest;
pub use prompt::PromptTokens;
pub(crate) use prompt::{TOKEN_BYTES, tokens_of};
pub use recorder::{Delivery, RecordedRequest};
pub(crate) use recorder::{Recorder, RecordingGuard, epoch};
