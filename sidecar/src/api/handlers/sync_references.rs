//! Takes the stored responses that a body refers to from the archive, before the body is parsed.

use super::parse_body::MAX_BYTES_IN_PLACE;
use crate::api::body::RequestBody;
use crate::api::request::RequestContext;
use crate::api::state::AppState;
use crate::openai::{ApiError, responses};

/// Does nothing for a sidecar without an archive.
///
/// # Errors
/// 503 when the archive does not answer.
pub(super) async fn sync_references(
    state: &AppState,
    context: RequestContext<'_>,
    body: &RequestBody,
) -> Result<(), ApiError> {
    let (store, client) = (&state.responses, context.client());
    if !store.is_archived() {
        return Ok(());
    }
    let bytes = body.bytes();
    let references = if bytes.len() <= MAX_BYTES_IN_PLACE {
        responses::references(bytes)
    } else {
        tokio::task::block_in_place(|| responses::references(bytes))
    };
    for id in references {
        store.sync(client, &id).await?;
    }
    Ok(())
}
