//! `/v1/models` in Anthropic's shape, for a request with `anthropic-version`.
//! Anthropic API reference, "Models".

use std::borrow::Cow;

use serde::Serialize;

use crate::openai::ApiError;
use crate::openai::models::{ModelAccess, available_since};
use crate::openai::response::json::to_json;

/// Models of a page, unless the client asks for another number.
const DEFAULT_LIMIT: usize = 20;

/// The most models of a page.
const MAX_LIMIT: usize = 1000;

#[derive(Serialize)]
struct ModelPage<'a> {
    data: &'a [ModelInfo],
    has_more: bool,
    first_id: Option<&'a str>,
    last_id: Option<&'a str>,
}

#[derive(Serialize)]
struct ModelInfo {
    r#type: &'static str,
    id: String,
    display_name: String,
    /// The start of the sidecar: Codex does not say when a model was released.
    created_at: String,
    lifecycle: &'static str,
    /// The context window, if Codex reported it.
    max_input_tokens: Option<u64>,
}

/// The query of a list.
#[derive(Debug, Default)]
pub struct PageQuery {
    limit: Option<usize>,
    after_id: Option<String>,
    before_id: Option<String>,
}

impl PageQuery {
    /// Parses a query; other parameters are left out.
    ///
    /// # Errors
    /// 400 for a limit outside of 1 to 1000, and for both cursors at once.
    pub fn parse<'q>(
        query: impl Iterator<Item = (Cow<'q, str>, Cow<'q, str>)>,
    ) -> Result<Self, ApiError> {
        let mut page = Self::default();
        for (name, value) in query {
            match &*name {
                "limit" => page.limit = Some(limit(&value)?),
                "after_id" => page.after_id = Some(value.into_owned()),
                "before_id" => page.before_id = Some(value.into_owned()),
                _ => {}
            }
        }
        if page.after_id.is_some() && page.before_id.is_some() {
            let text = "`after_id` and `before_id` must not be given together.";
            return Err(ApiError::invalid(text).at("after_id"));
        }
        Ok(page)
    }
}

fn limit(value: &str) -> Result<usize, ApiError> {
    let limit = value.parse().ok();
    limit
        .filter(|limit| (1..=MAX_LIMIT).contains(limit))
        .ok_or_else(|| {
            let text = format!("`limit` must be between 1 and {MAX_LIMIT}.");
            ApiError::invalid(text).at("limit")
        })
}

/// Returns the body of `GET /v1/models`.
///
/// # Errors
/// 400 for a cursor that is not a model of the list.
pub fn list(models: &ModelAccess<'_>, page: &PageQuery) -> Result<Vec<u8>, ApiError> {
    let all: Vec<ModelInfo> = models.visible(info);
    let limit = page.limit.unwrap_or(DEFAULT_LIMIT);
    let place = |param: &str, id: &str| {
        all.iter().position(|model| model.id == id).ok_or_else(|| {
            let text = format!("`{param}` must be the id of a model in the list, not {id:?}.");
            ApiError::invalid(text).at(param)
        })
    };
    let (range, has_more) = match (&page.after_id, &page.before_id) {
        (_, Some(id)) => {
            let end = place("before_id", id)?;
            let start = end.saturating_sub(limit);
            (start..end, start > 0)
        }
        (after, None) => {
            let start = match after {
                Some(id) => place("after_id", id)? + 1,
                None => 0,
            };
            let end = all.len().min(start + limit);
            (start..end, end < all.len())
        }
    };
    let data = &all[range];
    Ok(to_json(&ModelPage {
        data,
        has_more,
        first_id: data.first().map(|model| model.id.as_str()),
        last_id: data.last().map(|model| model.id.as_str()),
    }))
}

/// Returns the body of `GET /v1/models/{id}`.
///
/// # Errors
/// 404 for an unknown id and for one that the client may not use.
pub fn one(models: &ModelAccess<'_>, id: &str) -> Result<Vec<u8>, ApiError> {
    let model = models.usable(id, info)?;
    Ok(to_json(&model))
}

fn info(id: &str, window: Option<u64>) -> ModelInfo {
    ModelInfo {
        r#type: "model",
        id: id.to_owned(),
        display_name: id.to_owned(),
        created_at: available_since(),
        lifecycle: "active",
        max_input_tokens: window,
    }
}
