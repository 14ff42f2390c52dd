//! Checks the images of a request before its turn takes a permit: the limits first, then each image as a whole, beside
//! the threads that serve requests.

use std::mem;

use tokio::sync::OwnedSemaphorePermit;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::api::state::AppState;
use crate::openai::{ApiError, check_image_data, check_image_limits};
use crate::turn::{Item, TurnRequest};

/// Checks the images of `turn`. Dropping the future ends the check after the image that is being decoded.
///
/// # Errors
/// 400 for an image that is over a limit, cut off or damaged; 429 when other checks take longer than a request may wait.
pub(super) async fn check_images(state: &AppState, turn: &mut TurnRequest) -> Result<(), ApiError> {
    check_image_limits(turn.images(), &state.config.images)?;
    // An image without a place was checked with an earlier request.
    if turn.images().all(|image| image.place.is_none()) {
        return Ok(());
    }
    let permit = state.permit(&state.image_checks).await?;
    let client_is_gone = CancellationToken::new();
    let _guard = client_is_gone.clone().drop_guard();
    let conversation = mem::take(&mut turn.conversation);
    let check = move || check_conversation(conversation, &client_is_gone, permit);
    // A decoder that panics has met data that it cannot decode.
    let checked = spawn_blocking(check).await.unwrap_or_else(|_panic| {
        let text = "Invalid image: the data cannot be decoded. Save it again with another program.";
        Err(ApiError::bad_request("unsupported_value", text))
    });
    turn.conversation = checked?;
    Ok(())
}

/// Decodes the images of the request one after the other, and returns the conversation.
fn check_conversation(
    conversation: Vec<Item>,
    client_is_gone: &CancellationToken,
    _permit: OwnedSemaphorePermit,
) -> Result<Vec<Item>, ApiError> {
    let images = conversation.iter().flat_map(Item::images);
    for image in images.filter(|image| image.place.is_some()) {
        if client_is_gone.is_cancelled() {
            break;
        }
        check_image_data(image)?;
    }
    Ok(conversation)
}
