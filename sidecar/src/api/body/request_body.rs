//! A decoded body and its memory, until a turn was made of it.
//! The conversation of the turn and its line for the child follow when the body is dropped, so that the charge stays.

use bytes::Bytes;

use crate::openai::ApiError;
use crate::turn::{ConversationDigest, MemoryHold, MemoryReservation, TurnRequest};

/// A decoded body and its memory.
#[derive(Debug)]
pub(in crate::api) struct RequestBody {
    bytes: Bytes,
    memory: MemoryReservation,
}

impl RequestBody {
    /// A body with its memory, which is the body's alone now.
    ///
    /// # Errors
    /// Never for a smaller reservation than before.
    pub(super) fn new(bytes: Vec<u8>, mut memory: MemoryReservation) -> Result<Self, ApiError> {
        memory.resize(2 * bytes.capacity())?;
        Ok(Self {
            bytes: bytes.into(),
            memory,
        })
    }

    /// The decoded bytes.
    pub(in crate::api) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Drops the body, which `turn` was made of, and hands its memory to the turn.
    ///
    /// # Errors
    /// Many small items take a multiple of their JSON, and the budget has no room for them.
    pub(in crate::api) fn into_turn(self, turn: TurnRequest) -> Result<TurnRequest, ApiError> {
        Ok(self.hand_over(turn, 0)?.0)
    }

    /// As [`Self::into_turn`], with the memory of a copy of the input beside the turn.
    ///
    /// # Errors
    /// As for [`Self::into_turn`].
    pub(in crate::api) fn into_turn_and_input(
        self,
        turn: TurnRequest,
    ) -> Result<(TurnRequest, MemoryHold), ApiError> {
        let length = self.bytes.len();
        self.hand_over(turn, length)
    }

    fn hand_over(
        self,
        mut turn: TurnRequest,
        copied_bytes: usize,
    ) -> Result<(TurnRequest, MemoryHold), ApiError> {
        let Self { bytes, mut memory } = self;
        let length = bytes.len();
        drop(bytes);
        // The line for the child, and the conversation.
        let turn_bytes = length + length.max(turn.size());
        memory.resize(turn_bytes + copied_bytes)?;
        let copy = memory.split(copied_bytes);
        turn.memory = memory.into();
        turn.digest = ConversationDigest::of(&turn);
        Ok((turn, copy.into()))
    }
}
