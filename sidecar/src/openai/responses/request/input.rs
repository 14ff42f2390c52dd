//! Converts the input of a request to items of a conversation, and checks that every tool call has an output.
//! OpenAI API reference, "Create a model response", `input`.

use std::cell::Cell;
use std::collections::HashMap;

use serde::Deserialize;

use super::parts::{InputPart, content};
use super::tools::ResponseTool;
use crate::openai::request::body;
use crate::openai::request::image;
use crate::openai::request::string_or_list::StringOrList;
use crate::openai::request::validate::{check_call_id, check_tool_name};
use crate::openai::responses::item::parse_item_id;
use crate::openai::responses::scope::ClientResponses;
use crate::openai::{ApiError, IgnoredFields};
use crate::turn::{
    Content, Item, Message, Phase, ReasoningItem, Role, ToolCall, ToolKind, ToolOutput,
};

/// Bytes of all items that a request refers to by id. The size of the body does not bound them: a reference is short.
const MAX_REFERENCED_BYTES: usize = 16 << 20;

/// The type of an item that brings tools instead of a part of the conversation. Codex 0.169.0 and 0.171.0 send one, in the
/// place of the field `tools`, for a model with `use_responses_lite`.
const ADDITIONAL_TOOLS: &str = "additional_tools";

/// An item of any type; the type decides which fields are required.
#[derive(Deserialize)]
pub(in crate::openai::responses) struct InputItem {
    #[serde(rename = "type")]
    kind: Option<String>,
    id: Option<String>,
    role: Option<String>,
    content: Option<StringOrList<InputPart>>,
    call_id: Option<String>,
    name: Option<String>,
    namespace: Option<String>,
    arguments: Option<String>,
    /// The text of a call of a custom tool.
    input: Option<String>,
    output: Option<StringOrList<InputPart>>,
    summary: Option<Vec<InputSummary>>,
    encrypted_content: Option<String>,
    status: Option<String>,
    phase: Option<String>,
    #[serde(default, deserialize_with = "body::objects")]
    tools: Option<Vec<ResponseTool>>,
}

#[derive(Deserialize)]
pub(in crate::openai::responses) struct InputSummary {
    text: String,
}

/// Takes the tools out of the items that bring tools, each list with its path.
pub(super) fn additional_tools(
    input: &mut Option<StringOrList<InputItem>>,
) -> Vec<(String, Vec<ResponseTool>)> {
    let Some(StringOrList::List(items)) = input else {
        return Vec::new();
    };
    let lists = items.iter_mut().enumerate().filter_map(|(index, item)| {
        let tools = item
            .tools
            .take_if(|_| item.kind.as_deref() == Some(ADDITIONAL_TOOLS))?;
        Some((format!("input[{index}].tools"), tools))
    });
    lists.collect()
}

/// Returns the items that the request adds to the conversation in `previous`.
///
/// # Errors
/// 400 for an invalid item, a tool call without an output, and an output without a call; `param` is the path of the
/// item.
pub(super) fn items(
    input: StringOrList<InputItem>,
    previous: &[Item],
    responses: &ClientResponses<'_>,
    ignored: &mut IgnoredFields,
) -> Result<Vec<Item>, ApiError> {
    let raw = match input {
        StringOrList::Text(text) => {
            return check_calls(vec![(0, message(Role::User, text))], previous);
        }
        StringOrList::List(items) => items,
    };
    if raw.is_empty() && previous.is_empty() {
        return Err(ApiError::invalid("`input` must contain at least one item.").at("input"));
    }
    let mut items = Vec::with_capacity(raw.len());
    let referenced_bytes = Cell::new(0);
    for (index, item) in raw.into_iter().enumerate() {
        add_ignored(&item, ignored);
        let parser = ItemParser {
            param: format!("input[{index}]"),
            responses,
            referenced_bytes: &referenced_bytes,
        };
        let is_reasoning = item.kind() == "reasoning";
        match parser.parse(item)? {
            Some(item) => items.push((index, item)),
            None => ignored.add_if("input[].encrypted_content", is_reasoning),
        }
    }
    // Codex rejects a turn with an empty history.
    if items.is_empty() && previous.is_empty() {
        let text = "`input` has no item with content; add a user message.";
        return Err(ApiError::invalid(text).at("input"));
    }
    check_calls(items, previous)
}

impl InputItem {
    /// Returns the type. OpenAI lets clients leave out the type of a message and of a reference.
    fn kind(&self) -> &str {
        match (self.kind.as_deref(), &self.role) {
            (Some(kind), _) => kind,
            (None, Some(_)) => "message",
            (None, None) => "item_reference",
        }
    }

    /// Returns the fields that belong to items of this type. `id` belongs to all: an item that is sent whole needs none.
    fn own_fields(&self) -> &'static [&'static str] {
        match self.kind() {
            "message" => &["role", "content", "phase"],
            "function_call" => &["call_id", "name", "namespace", "arguments"],
            "custom_tool_call" => &["call_id", "name", "namespace", "input"],
            "function_call_output" | "custom_tool_call_output" => &["call_id", "output"],
            "reasoning" => &["summary", "encrypted_content"],
            ADDITIONAL_TOOLS => &["role", "tools"],
            _ => &[],
        }
    }
}

/// Adds the fields of an item that have no effect on an item of its type.
fn add_ignored(item: &InputItem, ignored: &mut IgnoredFields) {
    let own = item.own_fields();
    for (name, is_present) in [
        ("role", item.role.is_some()),
        ("content", has_parts(item.content.as_ref())),
        ("call_id", item.call_id.is_some()),
        ("name", item.name.is_some()),
        ("namespace", item.namespace.is_some()),
        ("arguments", item.arguments.is_some()),
        ("input", item.input.is_some()),
        ("output", has_parts(item.output.as_ref())),
        ("summary", item.summary.is_some()),
        ("encrypted_content", item.encrypted_content.is_some()),
        ("phase", item.phase.is_some()),
        ("tools", item.tools.is_some()),
    ] {
        if is_present && !own.contains(&name) {
            ignored.add_if(&format!("input[].{name}"), true);
        }
    }
    // `completed` is what Codex takes every item for.
    let status = item.status.as_deref();
    ignored.add_if(
        "input[].status",
        status.is_some_and(|status| status != "completed"),
    );
    let has_no_effect =
        |phase: &str| item.role.as_deref() != Some("assistant") || Phase::parse(phase).is_none();
    let phase = item.phase.as_deref();
    ignored.add_if("input[].phase", phase.is_some_and(has_no_effect));
    for (path, content) in [
        ("input[].content[]", &item.content),
        ("input[].output[]", &item.output),
    ] {
        if let Some(StringOrList::List(parts)) = content {
            for part in parts {
                part.add_ignored(path, ignored);
            }
        }
    }
}

/// Whether a field has content. Clients return the empty lists of items that they received.
fn has_parts(content: Option<&StringOrList<InputPart>>) -> bool {
    match content {
        Some(StringOrList::List(parts)) => !parts.is_empty(),
        Some(StringOrList::Text(_)) => true,
        None => false,
    }
}

fn message(role: Role, text: String) -> Item {
    Item::Message(Message {
        phase: None,
        role,
        content: vec![Content::Text(text)],
    })
}

/// Rejects tool calls without an output and outputs without a call. For the former, Codex would insert an output of its
/// own, and the model would rely on it; the latter Codex would drop.
fn check_calls(items: Vec<(usize, Item)>, previous: &[Item]) -> Result<Vec<Item>, ApiError> {
    let stored = previous.iter().map(|item| (item, "input".to_owned()));
    let sent = items
        .iter()
        .map(|(index, item)| (item, format!("input[{index}].call_id")));
    let mut open: HashMap<&str, String> = HashMap::new();
    for (item, param) in stored.chain(sent) {
        match item {
            Item::ToolCall(call) => {
                if open.contains_key(call.call_id.as_str()) {
                    let text = format!(
                        "Invalid call_id {:?}: an earlier call with this id has no output yet.",
                        call.call_id
                    );
                    return Err(ApiError::invalid(text).at(param));
                }
                open.insert(&call.call_id, param);
            }
            Item::ToolOutput(output) => {
                // Removed, so that the model may use the id again in a later call, and a second output is rejected.
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
    // The smallest, so that the same request has the same message.
    if let Some((call_id, param)) = open.iter().min() {
        let text = format!("No tool output found for function call {call_id}.");
        return Err(ApiError::invalid(text).at(param.as_str()));
    }
    Ok(items.into_iter().map(|(_, item)| item).collect())
}

/// The conversion of one item.
struct ItemParser<'a> {
    /// Path of the item in the request.
    param: String,
    /// The responses that the item may refer to.
    responses: &'a ClientResponses<'a>,
    /// Bytes of all items that the request has referred to so far.
    referenced_bytes: &'a Cell<usize>,
}

impl ItemParser<'_> {
    fn missing(&self, field: &str) -> ApiError {
        ApiError::invalid(format!("Missing `{field}` of the input item."))
            .at(format!("{}.{field}", self.param))
    }

    /// Returns the item, or `None` for an empty message of the model, and for a reasoning item without content that the
    /// provider could read.
    fn parse(&self, item: InputItem) -> Result<Option<Item>, ApiError> {
        match item.kind() {
            "message" => self.message(item),
            "function_call" => self.call(item).map(Some),
            "custom_tool_call" => self.custom_call(item).map(Some),
            "function_call_output" | "custom_tool_call_output" => self.output(item).map(Some),
            "reasoning" => self.reasoning(item),
            "item_reference" => self.reference(item).map(Some),
            // `additional_tools` has taken its tools.
            ADDITIONAL_TOOLS => Ok(None),
            other => {
                let text = format!(
                    "Unsupported input item type {other:?}. Use message, function_call, function_call_output, custom_tool_call, custom_tool_call_output, reasoning or item_reference."
                );
                let param = format!("{}.type", self.param);
                Err(ApiError::unsupported(param, text))
            }
        }
    }

    fn message(&self, item: InputItem) -> Result<Option<Item>, ApiError> {
        let role = match item.role.as_deref() {
            Some("system" | "developer") => Role::Developer,
            Some("user") => Role::User,
            Some("assistant") => Role::Assistant,
            Some(other) => {
                let text =
                    format!("Invalid role {other:?}. Use system, developer, user or assistant.");
                return Err(ApiError::invalid(text).at(format!("{}.role", self.param)));
            }
            None => return Err(self.missing("role")),
        };
        let phase = item.phase.as_deref().and_then(Phase::parse);
        let parts = item.content.ok_or_else(|| self.missing("content"))?;
        let mut content = content(parts, &format!("{}.content", self.param))?;
        if role == Role::Assistant {
            image::reject_images(&content, &format!("{}.content", self.param))?;
            // An answer may be empty, and clients return it; to the model it would be an empty turn of its own.
            content.retain(|content| *content != Content::Text(String::new()));
        } else if content.is_empty() {
            return Err(self.missing("content"));
        }
        Ok((!content.is_empty()).then_some(Item::Message(Message {
            role,
            content,
            phase: phase.filter(|_| role == Role::Assistant),
        })))
    }

    fn call(&self, mut item: InputItem) -> Result<Item, ApiError> {
        let arguments = item.arguments.take();
        let arguments = arguments.ok_or_else(|| self.missing("arguments"));
        self.tool_call(item, ToolKind::Function, arguments)
    }

    fn custom_call(&self, mut item: InputItem) -> Result<Item, ApiError> {
        let input = item.input.take();
        let input = input.ok_or_else(|| self.missing("input"));
        self.tool_call(item, ToolKind::Custom, input)
    }

    fn tool_call(
        &self,
        item: InputItem,
        kind: ToolKind,
        arguments: Result<String, ApiError>,
    ) -> Result<Item, ApiError> {
        let call_id = item.call_id.ok_or_else(|| self.missing("call_id"))?;
        check_call_id(&call_id, &format!("{}.call_id", self.param))?;
        let name = item.name.ok_or_else(|| self.missing("name"))?;
        check_tool_name(&name, &format!("{}.name", self.param))?;
        if let Some(namespace) = &item.namespace {
            check_tool_name(namespace, &format!("{}.namespace", self.param))?;
        }
        Ok(Item::ToolCall(ToolCall {
            call_id,
            name,
            namespace: item.namespace,
            kind,
            arguments: arguments?,
        }))
    }

    fn output(&self, item: InputItem) -> Result<Item, ApiError> {
        let output = item.output.ok_or_else(|| self.missing("output"))?;
        Ok(Item::ToolOutput(ToolOutput {
            call_id: item.call_id.ok_or_else(|| self.missing("call_id"))?,
            content: content(output, &format!("{}.output", self.param))?,
        }))
    }

    /// Only the provider can read the encrypted content. If the client does not send it, the stored item is used, if
    /// any.
    fn reasoning(&self, item: InputItem) -> Result<Option<Item>, ApiError> {
        if item.encrypted_content.is_none() {
            let stored = item.id.map(|id| self.stored(&id)).transpose()?.flatten();
            return Ok(stored.filter(|item| matches!(item, Item::Reasoning(_))));
        }
        let summary = item.summary.unwrap_or_default();
        Ok(Some(Item::Reasoning(ReasoningItem {
            summary: summary.into_iter().map(|part| part.text).collect(),
            encrypted_content: item.encrypted_content,
        })))
    }

    fn reference(&self, item: InputItem) -> Result<Item, ApiError> {
        let id = item.id.ok_or_else(|| self.missing("id"))?;
        self.stored(&id)?.ok_or_else(|| {
            let text = format!(
                "Item with id '{id}' not found: it was not stored, or has expired. Send the item itself."
            );
            ApiError::invalid(text).at(format!("{}.id", self.param))
        })
    }

    /// Returns the item of a stored response that has this id.
    fn stored(&self, id: &str) -> Result<Option<Item>, ApiError> {
        let ClientResponses { store, client } = self.responses;
        let Some((response_id, number)) = parse_item_id(id) else {
            return Ok(None);
        };
        let Some(response) = store.stored(client, &response_id) else {
            return Ok(None);
        };
        let Some(item) = response.node.item(number) else {
            return Ok(None);
        };
        // Counted before the clone, so that the limit bounds the memory too.
        let bytes = self.referenced_bytes.get() + item.size();
        if bytes > MAX_REFERENCED_BYTES {
            let text = format!(
                "`input` refers to more than {MAX_REFERENCED_BYTES} bytes of stored items; use `previous_response_id`."
            );
            return Err(ApiError::invalid(text).at(self.param.as_str()));
        }
        self.referenced_bytes.set(bytes);
        let mut item = item.clone();
        item.forget_places();
        Ok(Some(item))
    }
}
