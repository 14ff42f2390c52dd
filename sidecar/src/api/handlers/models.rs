//! `GET /v1/models` and `GET /v1/models/{model}`.

use http::header::{CACHE_CONTROL, VARY};
use http::{HeaderValue, Response, StatusCode};

use crate::anthropic;
use crate::anthropic::models::PageQuery;
use crate::api::request::RequestContext;
use crate::api::response::{BoxedBody, json};
use crate::api::route::Dialect;
use crate::api::state::AppState;
use crate::openai::ApiError;

pub(in crate::api) fn list(
    state: &AppState,
    context: RequestContext<'_>,
) -> Result<Response<BoxedBody>, ApiError> {
    let models = context.models(state);
    let list = match Dialect::of(context.head) {
        Dialect::OpenAi => models.list(),
        Dialect::Anthropic => {
            let page = PageQuery::parse(context.query())?;
            anthropic::models::list(&models, &page)?
        }
    };
    Ok(cacheable(state, context, list))
}

pub(in crate::api) fn retrieve(
    state: &AppState,
    context: RequestContext<'_>,
    id: &str,
) -> Result<Response<BoxedBody>, ApiError> {
    let models = context.models(state);
    let model = match Dialect::of(context.head) {
        Dialect::OpenAi => models.one(id)?,
        Dialect::Anthropic => anthropic::models::one(&models, id)?,
    };
    Ok(cacheable(state, context, model))
}

/// Adds `cache-control`. A list that depends on the API key must not be stored by a shared cache.
fn cacheable(state: &AppState, context: RequestContext<'_>, body: Vec<u8>) -> Response<BoxedBody> {
    let mut response = json(StatusCode::OK, body);
    let value = if state.config.protect_models || context.is_authenticated() {
        HeaderValue::from_static("private")
    } else {
        HeaderValue::from_static("public, max-age=60")
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, value);
    // The shape depends on it.
    headers.insert(VARY, HeaderValue::from_static("anthropic-version"));
    response
}
