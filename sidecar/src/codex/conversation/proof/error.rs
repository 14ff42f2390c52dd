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
    #[error("{0}")]
    Different(&'static str),
    #[error("a file or port of the proof cannot be used")]
    Io(#[from] io::Error),
    #[error("the proof ended early")]
    Ended,
}
