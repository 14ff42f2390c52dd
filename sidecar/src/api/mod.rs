//! The HTTP API on the socket: method and path to handler, and the log line and usage record of each request.
//!
//! [`respond`] routes a request to its handler; handlers share the [`AppState`]. A handler reads the body, has `openai`
//! parse it, starts a turn in `codex`, and returns a response with a body that owns the turn.

mod access_log;
mod body;
mod budget;
mod dispatch;
mod handlers;
mod request;
mod response;
mod route;
mod shared_login;
mod snapshot;
mod start_turn;
mod state;
mod turn_recorder;

pub use access_log::InstrumentedBody;
pub use dispatch::respond;
pub use response::{BoxedBody, error_response};
pub use snapshot::Snapshot;
pub use state::AppState;
pub use turn_recorder::UsageSinks;
