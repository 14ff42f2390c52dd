//! The HTTP API on the socket: method and path to handler, and the log line and usage record of each request.
//!
//! [`respond`] routes a request to its handler, [`AppState`] is what handlers share. A handler reads the body, has
//! `openai` parse it, starts a turn in `codex`, and returns the response whose body owns that turn.

mod access_log;
mod dispatch;
mod handlers;
mod request;
mod response;
mod route;
mod start_turn;
mod state;
mod turn_recorder;

pub use access_log::InstrumentedBody;
pub use dispatch::respond;
pub use response::{Body, error_response};
pub use state::AppState;
pub use turn_recorder::UsageSinks;
