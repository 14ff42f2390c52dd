//! The input of a response -> the steps of a conversation, with every call of a tool answered.
//! OpenAI API reference, "Create a model response", `input`.

use std::cell::Cell;
use std::collections::HashMap;

use serde::Deserialize;

use super::item::place_of;
use super::parts::{RawPart, content};
use super::request::ClientResponses;
use crate::openai::request::string_or_list::StringOrList;
use crate::openai::{ApiError, Ignored};
use crate::turn::{Content, Item, Message, ReasoningItem, Role, ToolCall, ToolOutput};

/// Bytes of all items that a request refers to by id: a few of them must not make a conversation of any length.
const MAX_REFERENCED_BYTES: usize = 16 << 20;

/// An item of any type: which fields it needs depends on that.
#[derive(Deserialize)]
pub(super) struct RawItem {
    #[serde(rename = "type")]
    kind: Option<String>,
    id: Option<String>,
    role: Option<String>,
    content: Option<StringOrList<RawPart>>,
    call_id: Option<String>,
    name: Option<String>,
    arguments: Option<String>,
    output: Option<StringOrList<RawPart>>,
    summary: Option<Vec<RawSummary>>,
    encrypted_content: Option<String>,
}

#[derive(Deserialize)]
struct RawSummary {
    text: String,
}

/// What the request brings of a conversation that began with `before`.
///
/// # Errors
/// An item is none, a call has no output, or an output no call; `param` points at the item.
pub(super) fn items(
    input: StringOrList<RawItem>,
    before: &[Item],
    shelf: &ClientResponses<'_>,
    ignored: &mut Ignored,
) -> Result<Vec<Item>, ApiError> {
    let raw = match input {
        StringOrList::Text(text) => return whole(vec![(0, message(Role::User, text))], before),
        StringOrList::List(items) => items,
    };
    if raw.is_empty() && before.is_empty() {
        return Err(ApiError::invalid("The input needs at least one item.").at("input"));
    }
    let mut items = Vec::with_capacity(raw.len());
    let referenced_bytes = Cell::new(0);
    for (index, item) in raw.into_iter().enumerate() {
        let place = Place {
            param: format!("input[{index}]"),
            shelf,
            referenced_bytes: &referenced_bytes,
        };
        match place.read(item)? {
            Some(item) => items.push((index, item)),
            None => ignored.note("input[].encrypted_content", true),
        }
    }
    whole(items, before)
}

fn message(role: Role, text: String) -> Item {
    Item::Message(Message {
        role,
        content: vec![Content::Text(text)],
    })
}

/// Codex would make up the outputs that are missing, and the model believe them; an output without its call it drops.
fn whole(items: Vec<(usize, Item)>, before: &[Item]) -> Result<Vec<Item>, ApiError> {
    let earlier = before.iter().map(|item| (item, "input".to_owned()));
    let brought = items
        .iter()
        .map(|(index, item)| (item, format!("input[{index}].call_id")));
    let mut open: HashMap<&str, String> = HashMap::new();
    for (item, param) in earlier.chain(brought) {
        match item {
            Item::ToolCall(call) => {
                if open.contains_key(call.call_id.as_str()) {
                    let text = format!("Two open calls have the id {:?}.", call.call_id);
                    return Err(ApiError::invalid(text).at(param));
                }
                open.insert(&call.call_id, param);
            }
            Item::ToolOutput(output) => {
                if open.remove(output.call_id.as_str()).is_none() {
                    let text = format!(
                        "No tool call found for function call output with call_id {}.",
                        output.call_id
                    );
                    return Err(ApiError::invalid(text).at(param));
                }
            }
            Item::Message(_) | Item::Reasoning(_) => {}
        }
    }
    if let Some((call_id, param)) = open.iter().min() {
        let text = format!("No tool output found for function call {call_id}.");
        return Err(ApiError::invalid(text).at(param.as_str()));
    }
    Ok(items.into_iter().map(|(_, item)| item).collect())
}

/// Where an item stands, and what it may refer to.
struct Place<'a> {
    param: String,
    shelf: &'a ClientResponses<'a>,
    /// Of all items that the request has referred to so far.
    referenced_bytes: &'a Cell<usize>,
}

impl Place<'_> {
    fn missing(&self, field: &str) -> ApiError {
        ApiError::invalid(format!("This item needs {field}.")).at(format!("{}.{field}", self.param))
    }

    /// `None` for a thought of which nothing is left that the model could read.
    fn read(&self, item: RawItem) -> Result<Option<Item>, ApiError> {
        let kind = match (item.kind.as_deref(), &item.role) {
            (Some(kind), _) => kind,
            (None, Some(_)) => "message",
            (None, None) => "item_reference",
        };
        match kind {
            "message" => self.message(item).map(Some),
            "function_call" => self.call(item).map(Some),
            "function_call_output" => self.output(item).map(Some),
            "reasoning" => self.reasoning(item),
            "item_reference" => self.reference(item).map(Some),
            other => {
                let text = format!(
                    "Items of the type {other:?} are not supported; use message, function_call, function_call_output, reasoning or item_reference."
                );
                let param = format!("{}.type", self.param);
                Err(ApiError::unsupported(param, text))
            }
        }
    }

    fn message(&self, item: RawItem) -> Result<Item, ApiError> {
        let role = match item.role.as_deref() {
            Some("system" | "developer") => Role::Developer,
            Some("user") => Role::User,
            Some("assistant") => Role::Assistant,
            Some(other) => {
                let text =
                    format!("{other:?} is no role; use system, developer, user or assistant.");
                return Err(ApiError::invalid(text).at(format!("{}.role", self.param)));
            }
            None => return Err(self.missing("role")),
        };
        let parts = item.content.ok_or_else(|| self.missing("content"))?;
        let content = content(parts, &format!("{}.content", self.param))?;
        if content.is_empty() {
            return Err(self.missing("content"));
        }
        Ok(Item::Message(Message { role, content }))
    }

    fn call(&self, item: RawItem) -> Result<Item, ApiError> {
        Ok(Item::ToolCall(ToolCall {
            call_id: item.call_id.ok_or_else(|| self.missing("call_id"))?,
            name: item.name.ok_or_else(|| self.missing("name"))?,
            arguments: item.arguments.ok_or_else(|| self.missing("arguments"))?,
        }))
    }

    fn output(&self, item: RawItem) -> Result<Item, ApiError> {
        let output = item.output.ok_or_else(|| self.missing("output"))?;
        Ok(Item::ToolOutput(ToolOutput {
            call_id: item.call_id.ok_or_else(|| self.missing("call_id"))?,
            content: content(output, &format!("{}.output", self.param))?,
        }))
    }

    /// Only the provider can read a thought; if the client does not bring it along, we may know it still.
    fn reasoning(&self, item: RawItem) -> Result<Option<Item>, ApiError> {
        if item.encrypted_content.is_none() {
            let known = item.id.map(|id| self.known(&id)).transpose()?.flatten();
            return Ok(known.filter(|item| matches!(item, Item::Reasoning(_))));
        }
        let summary = item.summary.unwrap_or_default().into_iter();
        Ok(Some(Item::Reasoning(ReasoningItem {
            summary: summary.map(|part| part.text).collect(),
            encrypted_content: item.encrypted_content,
        })))
    }

    fn reference(&self, item: RawItem) -> Result<Item, ApiError> {
        let id = item.id.ok_or_else(|| self.missing("id"))?;
        self.known(&id)?.ok_or_else(|| {
            let text =
                format!("Item with id '{id}' not found; it was not stored, or is forgotten.");
            ApiError::invalid(text).at(format!("{}.id", self.param))
        })
    }

    /// The item of a stored response that has this id.
    fn known(&self, id: &str) -> Result<Option<Item>, ApiError> {
        let stored = place_of(id).and_then(|(response, number)| {
            let stored = self.shelf.store.stored(self.shelf.client, &response)?;
            Some((stored, number))
        });
        let item = stored
            .as_ref()
            .and_then(|(stored, number)| stored.exchange.item(*number));
        let Some(item) = item else {
            return Ok(None);
        };
        let bytes = self.referenced_bytes.get() + item.size();
        if bytes > MAX_REFERENCED_BYTES {
            let text =
                "The items that are referred to are too long together; use previous_response_id.";
            return Err(ApiError::invalid(text).at(self.param.as_str()));
        }
        self.referenced_bytes.set(bytes);
        Ok(Some(item.clone()))
    }
}
