//! Errors after which a `codex app-server` child cannot be used any longer.

/// A violation of the protocol by the child.
#[derive(Debug, thiserror::Error)]
pub(in crate::codex) enum AppServerError {
    #[error("invalid JSON-RPC message")]
    InvalidMessage(#[source] serde_json::Error),
    #[error("unexpected result of {method}")]
    UnexpectedResult {
        method: &'static str,
        #[source]
        source: serde_json::Error,
    },
    #[error("{method} was rejected: {message} ({code})")]
    Rejected {
        method: &'static str,
        code: i64,
        message: String,
    },
    #[error("{0} timed out")]
    Timeout(&'static str),
}
