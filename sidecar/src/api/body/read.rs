//! Reads the body of a request, after its memory was reserved.
//! A body is charged twice its length: for its bytes, and for the conversation that is made of them. The conversation and
//! the line for the child follow when the body is dropped.

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use super::content_encoding::ContentEncoding;
use crate::api::request::RequestContext;
use crate::api::state::AppState;
use crate::openai::ApiError;
use crate::turn::{MemoryHold, MemoryReservation, TurnRequest};

/// Bytes by which the buffer of a body without a declared length grows, and its reservation with it.
pub(super) const STEP_BYTES: usize = 256 << 10;

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

    /// Drops the body, which `turn` was made of. Returns the memory of the turn until a child has its conversation, and
    /// a hold of as much as the body had, for a copy of its input that outlives this.
    ///
    /// # Errors
    /// Many small items take a multiple of their JSON, and the budget has no room for them.
    pub(in crate::api) fn into_turn(
        self,
        mut turn: TurnRequest,
    ) -> Result<(TurnRequest, MemoryHold), ApiError> {
        let Self { bytes, mut memory } = self;
        let length = bytes.len();
        drop(bytes);
        memory.resize(length + length.max(turn.size()))?;
        let copy = memory.split(length);
        turn.memory = memory.into();
        Ok((turn, copy.into()))
    }
}

/// Reads and decodes the body of a request whose media type is JSON, to at most `max_body_bytes`, encoded and decoded.
///
/// # Errors
/// The media type or the encoding is not supported, the body is incomplete or too large, or its client or all clients hold too much memory.
pub(in crate::api) async fn read(
    state: &AppState,
    context: RequestContext<'_>,
    body: &mut Incoming,
) -> Result<RequestBody, ApiError> {
    let encoding = ContentEncoding::of(&context.head.headers)?;
    context.check_media_type()?;
    let limit = state.config.max_body_bytes;
    let mut memory = state.body_memory.reservation(context.client());
    let encoded = read_encoded(body, limit, &mut memory).await?;
    encoding.decode(encoded, limit, memory).await
}

/// Reads a body whose memory is reserved at once if its length is declared, else in steps.
async fn read_encoded(
    body: &mut Incoming,
    limit: usize,
    memory: &mut MemoryReservation,
) -> Result<Vec<u8>, ApiError> {
    let declared = body.size_hint().exact().unwrap_or_default();
    let declared = usize::try_from(declared).unwrap_or(usize::MAX);
    if declared > limit {
        return Err(ApiError::body_too_large(limit));
    }
    let mut buffer = ReservedBuffer::new(limit, memory);
    buffer.reserve(declared)?;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ApiError::body_incomplete())?;
        if let Ok(data) = frame.into_data() {
            buffer.extend(&data)?;
        }
    }
    Ok(buffer.bytes)
}

/// A buffer that grows within a limit, and only after the memory was reserved.
pub(super) struct ReservedBuffer<'a> {
    pub(super) bytes: Vec<u8>,
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

    fn reserve(&mut self, capacity: usize) -> Result<(), ApiError> {
        self.memory.resize(self.other_bytes + 2 * capacity)?;
        self.bytes.reserve_exact(capacity - self.bytes.len());
        Ok(())
    }
}
