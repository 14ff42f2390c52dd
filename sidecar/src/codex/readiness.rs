//! Readiness of the workers, as `/healthz`, the metrics and admission see it.

use crate::turn::TurnError;

/// The readiness of a worker, in ascending order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Readiness {
    /// A child cannot be started.
    Unavailable,
    /// The first child has not completed its handshake yet.
    Starting,
    /// Codex is not logged in.
    LoginRequired,
    /// A child has completed its handshake and has a credential.
    Ready,
}

impl Readiness {
    /// The values in ascending order.
    pub const ALL: [Self; 4] = [
        Self::Unavailable,
        Self::Starting,
        Self::LoginRequired,
        Self::Ready,
    ];

    /// Returns the name that `/healthz` and the metrics show.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Starting => "starting",
            Self::LoginRequired => "login_required",
            Self::Unavailable => "unavailable",
        }
    }

    /// Checks that a turn can begin.
    ///
    /// # Errors
    /// The value is not `Ready`; the error names the reason.
    pub fn check(self) -> Result<(), TurnError> {
        match self {
            Self::Ready => Ok(()),
            Self::Starting => Err(TurnError::Starting),
            Self::LoginRequired => Err(TurnError::LoginRequired),
            Self::Unavailable => Err(TurnError::Unavailable),
        }
    }
}
