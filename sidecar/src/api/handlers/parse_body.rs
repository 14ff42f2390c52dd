//! Parses request bodies; a large one beside the threads that serve requests.

use std::sync::{Arc, OnceLock};

use tokio::task::spawn_blocking;

use crate::api::body::RequestBody;
use crate::api::request::RequestContext;
use crate::api::route::Route;
use crate::api::state::AppState;
use crate::openai::ApiError;

/// Largest body that is parsed where it was read. One of 16 MiB takes a core tens of milliseconds, and all other streams of
/// the thread would wait for it.
pub(super) const MAX_BYTES_IN_PLACE: usize = 256 << 10;

/// Returns the result of `parse`.
///
/// # Errors
/// Those of `parse`, and 429 when other large bodies take longer than a request may wait.
pub(super) async fn parse_body<T: Send + 'static>(
    state: &Arc<AppState>,
    context: RequestContext<'_>,
    body: RequestBody,
    parse: fn(&AppState, RequestContext<'_>, RequestBody) -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    if body.bytes().len() <= MAX_BYTES_IN_PLACE {
        return parse(state, context, body);
    }
    let permit = state.permit(&state.large_bodies).await?;
    let (state, head) = (Arc::clone(state), context.head.clone());
    let span = context.span.cloned();
    let parsed = spawn_blocking(move || {
        let _permit = permit;
        let limits = OnceLock::new();
        let context = RequestContext {
            head: &head,
            route: Route::of(&head.method, head.uri.path()),
            span: span.as_ref(),
            limits: &limits,
        };
        parse(&state, context, body)
    });
    parsed
        .await
        .unwrap_or_else(|_panic| Err(ApiError::internal("The parser of the body failed.")))
}
