//! Reads the body of a request, after its memory was reserved.

use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use super::buffer::ReservedBuffer;
use super::content_encoding::ContentEncoding;
use super::request_body::RequestBody;
use crate::api::request::RequestContext;
use crate::api::state::AppState;
use crate::openai::ApiError;
use crate::turn::MemoryReservation;

/// Reads and decodes the body of a request with the media type JSON, to at most `max_body_bytes`, encoded and decoded.
///
/// # Errors
/// The media type or the encoding is not supported, the body is incomplete or too large, or its client or all clients
/// hold too much memory.
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

/// Reads a body. Its memory is reserved at once for a declared length, else in steps.
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
    Ok(buffer.into_bytes())
}
