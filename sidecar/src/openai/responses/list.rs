//! The input of a stored response in pages, and the confirmation of a deletion.
//! OpenAI API reference, "List input items" and "Delete a model response".

use std::borrow::Cow;

use serde::Serialize;

use super::item::{ItemBody, ResponseId};
use crate::openai::ApiError;
use crate::openai::response::json::to_json;
use crate::store::StoredResponse;

/// The requested page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    limit: usize,
    after: Option<String>,
    newest_first: bool,
}

impl Page {
    /// Parses the pairs of a query such as `limit=20&order=asc&after=msg_1`; other pairs are ignored.
    ///
    /// # Errors
    /// 400 for a value out of range; `param` names the pair.
    pub fn parse<'a>(
        query: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>,
    ) -> Result<Self, ApiError> {
        const LIMITS: std::ops::RangeInclusive<usize> = 1..=100;
        let mut page = Self {
            limit: 20,
            after: None,
            newest_first: true,
        };
        for (name, value) in query {
            match name.as_ref() {
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| LIMITS.contains(limit));
                    page.limit = limit.ok_or_else(|| {
                        ApiError::invalid("`limit` must be between 1 and 100.").at("limit")
                    })?;
                }
                "after" => page.after = Some(value.into_owned()),
                "order" => {
                    page.newest_first = match value.as_ref() {
                        "asc" => false,
                        "desc" => true,
                        _ => {
                            let text = "`order` must be asc or desc.";
                            return Err(ApiError::invalid(text).at("order"));
                        }
                    };
                }
                _ => {}
            }
        }
        Ok(page)
    }
}

#[derive(Serialize)]
struct InputItemList<'a> {
    object: &'static str,
    data: &'a [ItemBody],
    first_id: Option<&'a str>,
    last_id: Option<&'a str>,
    has_more: bool,
}

/// Returns the body of `GET /v1/responses/{id}/input_items`: the items of this request, without those of earlier ones.
///
/// # Errors
/// 400 when the page begins after an item that is not in the list.
pub fn input_items(id: &str, stored: &StoredResponse, page: &Page) -> Result<Vec<u8>, ApiError> {
    let response = ResponseId::of(id);
    let mut items: Vec<_> = stored
        .node
        .input()
        .iter()
        .enumerate()
        .map(|(number, item)| ItemBody::completed(item, &response, number))
        .collect();
    // Reversed before `after` is looked up: a page goes on in its own order.
    if page.newest_first {
        items.reverse();
    }
    let begin = match &page.after {
        None => 0,
        Some(after) => {
            let position = items.iter().position(|item| item.id() == after);
            let unknown =
                || ApiError::invalid("`after` must be the id of an item in the list.").at("after");
            position.ok_or_else(unknown)? + 1
        }
    };
    let rest = &items[begin..];
    let data = &rest[..rest.len().min(page.limit)];
    Ok(to_json(&InputItemList {
        object: "list",
        data,
        first_id: data.first().map(ItemBody::id),
        last_id: data.last().map(ItemBody::id),
        has_more: data.len() < rest.len(),
    }))
}

#[derive(Serialize)]
struct DeletedResponse<'a> {
    id: &'a str,
    object: &'static str,
    deleted: bool,
}

/// Returns the body of `DELETE /v1/responses/{id}`.
pub fn deleted(id: &str) -> Vec<u8> {
    to_json(&DeletedResponse {
        id,
        object: "response",
        deleted: true,
    })
}
