//! The stored responses that a body refers to, read before the body is parsed.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::openai::request::string_or_list::StringOrList;
use crate::openai::responses::item::parse_item_id;

/// Responses that a body may refer to. A conversation of any length counts once.
const MAX_RESPONSES: usize = 64;

#[derive(Deserialize)]
struct ReferringBody<'a> {
    #[serde(borrow)]
    previous_response_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    input: Option<StringOrList<ReferringItem<'a>>>,
}

#[derive(Deserialize)]
struct ReferringItem<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    encrypted_content: Option<IgnoredAny>,
    role: Option<IgnoredAny>,
    call_id: Option<IgnoredAny>,
}

/// Returns the ids of the responses; none for an invalid body, which the parser reports.
pub fn references(body: &[u8]) -> BTreeSet<String> {
    let Ok(body) = serde_json::from_slice::<ReferringBody<'_>>(body) else {
        return BTreeSet::new();
    };
    let items = match body.input {
        Some(StringOrList::List(items)) => items,
        Some(StringOrList::Text(_)) | None => Vec::new(),
    };
    // An item that is sent whole needs no stored one.
    let referring = items.iter().filter(|item| {
        item.encrypted_content.is_none() && item.role.is_none() && item.call_id.is_none()
    });
    let of_items = referring.filter_map(|item| Some(parse_item_id(item.id.as_deref()?)?.0));
    let previous = body.previous_response_id.map(Cow::into_owned);
    previous
        .into_iter()
        .chain(of_items)
        .take(MAX_RESPONSES)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn previous_response_and_referenced_items_are_found() {
        let body = r#"{"model": "m", "previous_response_id": "resp_a", "input": [
            {"role": "user", "content": "hi", "id": "msg_00000000000000000000000b0001"},
            {"type": "item_reference", "id": "fc_00000000000000000000000c0001"},
            {"id": "rs_00000000000000000000000d0001", "type": "reasoning", "summary": []},
            {"id": "rs_00000000000000000000000e0001", "type": "reasoning", "encrypted_content": "x"}
        ]}"#;
        let found = references(body.as_bytes());
        assert_eq!(
            Vec::from_iter(found),
            [
                "resp_00000000000000000000000c",
                "resp_00000000000000000000000d",
                "resp_a",
            ]
        );
        for body in ["{}", "[]", "{\"input\": \"text\"}", "{\"input\": 1}"] {
            assert!(references(body.as_bytes()).is_empty(), "{body}");
        }
    }
}
