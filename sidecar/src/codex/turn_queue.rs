//! What passes between those who want turns and the children that serve them: orders, slots, readiness.
//! It knows neither side, so that a child protocol needs to know nothing of who admits.

use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::launch::sandbox::Workspace;
use crate::turn::{EventWriter, TurnError, TurnRequest};

/// A turn for a child.
#[derive(Debug)]
pub(super) struct QueuedTurn {
    pub(super) request: TurnRequest,
    pub(super) events: EventWriter,
    pub(super) cancel: CancellationToken,
    /// Held until the child knows nothing of the turn any more.
    pub(super) slot: TurnPermit,
    /// An agent's; removed when the child knows nothing of the turn any more.
    pub(super) workspace: Option<Workspace>,
}

/// A place for one turn. Dropping it lets the next one in.
pub(super) type TurnPermit = OwnedSemaphorePermit;

/// Where children take their turns from: whoever is ready takes the next one.
pub(super) type TurnQueue = async_channel::Receiver<QueuedTurn>;

/// What the children can do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Readiness {
    /// No child can be started.
    Unavailable,
    /// No child has completed its handshake yet.
    Starting,
    /// Codex is not logged in.
    LoginRequired,
    /// A child has completed its handshake and has a credential.
    Ready,
}

impl Readiness {
    /// Each of them, the best last.
    pub const ALL: [Self; 4] = [
        Self::Unavailable,
        Self::Starting,
        Self::LoginRequired,
        Self::Ready,
    ];

    /// Its name, as `/healthz` and the metrics show it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Starting => "starting",
            Self::LoginRequired => "login_required",
            Self::Unavailable => "unavailable",
        }
    }

    /// Why a turn cannot begin now.
    ///
    /// # Errors
    /// Unless it is `Ready`.
    pub fn check(self) -> Result<(), TurnError> {
        match self {
            Self::Ready => Ok(()),
            Self::Starting => Err(TurnError::Starting),
            Self::LoginRequired => Err(TurnError::LoginRequired),
            Self::Unavailable => Err(TurnError::Unavailable),
        }
    }
}
