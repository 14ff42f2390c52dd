//! The queue between admission and the workers.
//! It knows the permit of a turn and nothing else of admission, so that a child protocol need not know how turns are
//! admitted.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::admission::TurnPermit;
use super::app_server::Continuation;
use super::launch::sandbox::Workspace;
use crate::turn::{EventWriter, TurnRequest};

/// An admitted turn that waits for a child.
#[derive(Debug)]
pub(super) struct QueuedTurn {
    /// The id of the client.
    pub(super) client: Arc<str>,
    pub(super) request: TurnRequest,
    pub(super) events: EventWriter,
    pub(super) cancel: CancellationToken,
    /// Held until the child has no state of the turn any more.
    pub(super) permit: TurnPermit,
    /// The folder of an agent turn. Its drop removes the folder, so it is held as long as the permit.
    pub(super) workspace: Option<Workspace>,
    /// Whether a child has ended while it had the turn. No third child tries.
    pub(super) is_second_try: bool,
    /// Whether another sidecar has answered an earlier request of the conversation since this one did.
    pub(super) is_served_elsewhere: bool,
    /// The thread that the turn continues, on the child that it is sent to.
    pub(super) continuation: Option<Continuation>,
}

impl QueuedTurn {
    /// Returns the turn as one that begins a thread of its own.
    pub(super) fn without_thread(mut self) -> Self {
        self.continuation = None;
        self
    }
}

/// The consumers' end of the queue: the first ready child takes the next turn.
pub(super) type TurnQueue = async_channel::Receiver<QueuedTurn>;
