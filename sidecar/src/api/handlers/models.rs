//! `GET /v1/models` and `GET /v1/models/{model}`.

use http::header::CACHE_CONTROL;
use http::{HeaderValue, Response, StatusCode};

use crate::api::request::RequestContext;
use crate::api::response::{Body, json};
use crate::api::state::AppState;
use crate::openai::ApiError;

pub(in crate::api) fn list(state: &AppState, context: RequestContext<'_>) -> Response<Body> {
    cacheable(state, context, context.models(state).list())
}

pub(in crate::api) fn retrieve(
    state: &AppState,
    context: RequestContext<'_>,
    id: &str,
) -> Result<Response<Body>, ApiError> {
    let model = context.models(state).one(id)?;
    Ok(cacheable(state, context, model))
}

/// Adds `cache-control`. A list that depends on the API key must not be stored by a shared cache.
fn cacheable(state: &AppState, context: RequestContext<'_>, body: Vec<u8>) -> Response<Body> {
    let mut response = json(StatusCode::OK, body);
    let value = if state.config.protect_models || context.is_authenticated() {
        HeaderValue::from_static("private")
    } else {
        HeaderValue::from_static("public, max-age=60")
    };
    response.headers_mut().insert(CACHE_CONTROL, value);
    response
}
