//! The input of a stored response in pages, and what is said of one that was deleted.
//! OpenAI API reference, "List input items" and "Delete a model response".

use std::borrow::Cow;

use serde::Serialize;

use super::item::{ItemBody, ResponseId};
use crate::openai::ApiError;
use crate::store::Stored;

/// Which part of a list is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    limit: usize,
    after: Option<String>,
    newest_first: bool,
}

impl Page {
    /// Reads a query such as `limit=20&order=asc&after=msg_1`, in pairs; what else is in it does not matter.
    ///
    /// # Errors
    /// A value is out of its range; `param` names it.
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
                        ApiError::invalid("The limit has to be between 1 and 100.").at("limit")
                    })?;
                }
                "after" => page.after = Some(value.into_owned()),
                "order" => {
                    page.newest_first = match value.as_ref() {
                        "asc" => false,
                        "desc" => true,
                        _ => {
                            let text = "The order has to be asc or desc.";
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
struct List<'a> {
    object: &'static str,
    data: &'a [ItemBody],
    first_id: Option<&'a str>,
    last_id: Option<&'a str>,
    has_more: bool,
}

/// The body of `GET /v1/responses/{id}/input_items`: what this request brought, not what came before it.
///
/// # Errors
/// The page begins after an item that is not there.
pub fn input_items(id: &str, stored: &Stored, page: &Page) -> Result<Vec<u8>, ApiError> {
    let response = ResponseId::of(id);
    let numbered = stored.exchange.input().iter().enumerate();
    let mut items: Vec<_> = numbered
        .map(|(number, item)| ItemBody::whole(item, &response, number))
        .collect();
    if page.newest_first {
        items.reverse();
    }
    let begin = match &page.after {
        None => 0,
        Some(after) => {
            let place = items.iter().position(|item| item.id() == after);
            let unknown = || ApiError::invalid("There is no such item in the list.").at("after");
            place.ok_or_else(unknown)? + 1
        }
    };
    let rest = &items[begin..];
    let data = &rest[..rest.len().min(page.limit)];
    Ok(to_json(&List {
        object: "list",
        data,
        first_id: data.first().map(ItemBody::id),
        last_id: data.last().map(ItemBody::id),
        has_more: data.len() < rest.len(),
    }))
}

#[derive(Serialize)]
struct Deleted<'a> {
    id: &'a str,
    object: &'static str,
    deleted: bool,
}

/// The body of `DELETE /v1/responses/{id}`.
pub fn deleted(id: &str) -> Vec<u8> {
    to_json(&Deleted {
        id,
        object: "response",
        deleted: true,
    })
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("our shapes always serialise into memory")
}
