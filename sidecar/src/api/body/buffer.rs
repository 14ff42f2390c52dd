//! A buffer for a body of unknown length, within a limit and a reservation.
//! A body is charged twice its length: for its bytes, and for the conversation that is made of them.

use crate::openai::ApiError;
use crate::turn::MemoryReservation;

/// Bytes by which the buffer of a body without a declared length grows, and its reservation with it.
const STEP_BYTES: usize = 256 << 10;

/// A buffer that grows within a limit, and only after the memory was reserved.
pub(super) struct ReservedBuffer<'a> {
    bytes: Vec<u8>,
    limit: usize,
    /// The memory of the reservation that is not the buffer's, in bytes.
    other_bytes: usize,
    memory: &'a mut MemoryReservation,
}

impl<'a> ReservedBuffer<'a> {
    /// An empty buffer beside what `memory` holds already.
    pub(super) fn new(limit: usize, memory: &'a mut MemoryReservation) -> Self {
        Self {
            bytes: Vec::new(),
            limit,
            other_bytes: memory.bytes(),
            memory,
        }
    }

    /// Appends `data`.
    pub(super) fn extend(&mut self, data: &[u8]) -> Result<(), ApiError> {
        let length = self.bytes.len() + data.len();
        if length > self.limit {
            return Err(ApiError::body_too_large(self.limit));
        }
        if length > self.bytes.capacity() {
            self.reserve(length.next_multiple_of(STEP_BYTES).min(self.limit))?;
        }
        self.bytes.extend_from_slice(data);
        Ok(())
    }

    /// Reserves the memory of `capacity` bytes, and allocates them.
    pub(super) fn reserve(&mut self, capacity: usize) -> Result<(), ApiError> {
        self.memory.resize(self.other_bytes + 2 * capacity)?;
        self.bytes.reserve_exact(capacity - self.bytes.len());
        Ok(())
    }

    /// Returns the bytes; their memory stays reserved.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}
