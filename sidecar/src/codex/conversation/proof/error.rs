//! The reasons for which a proof fails.

use std::io;

/// The reason why threads cannot be rebuilt.
#[derive(Debug, thiserror::Error)]
pub(in crate::codex) enum ProofError {
    #[error("`{method}` was rejected: {message}")]
    Rejected {
        method: &'static str,
        message: String,
    },
    #[error("Codex was silent after {0}")]
    Silent(&'static str),
    #[error("Codex cannot reach a provider on a loopback port: NO_PROXY must have 127.0.0.1")]
    Unreachable,
    #[error("{0}")]
    Different(&'static str),
    #[error("a file or port of the proof cannot be used")]
    Io(#[from] io::Error),
    #[error("the proof ended early")]
    Ended,
}
