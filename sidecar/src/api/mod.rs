//! Method and path to handler, the access log line and the usage record of each request.

pub mod access_log;
mod responses;
mod route;
mod state;
mod turn_recorder;
mod usage;

pub(crate) use state::error_response;
pub use state::{Body, Routes};
pub use turn_recorder::{TurnInfo, TurnRecorder, UsageSinks};
