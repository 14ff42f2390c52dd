//! Converts the messages of a chat to the items of a conversation, and checks that every tool call has an output.
//! OpenAI API reference, "Create chat completion", `messages`.

use std::collections::HashSet;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::openai::request::body;
use crate::openai::request::image;
use crate::openai::request::string_or_list::StringOrList;
use crate::openai::request::validate::{check_call_id, check_tool_name};
use crate::openai::{ApiError, IgnoredFields};
use crate::turn::{
    Content, Item, Message, Phase, ReasoningItem, Role, ToolCall, ToolKind, ToolOutput,
};

#[derive(Deserialize)]
pub(super) struct ChatMessage {
    role: String,
    content: Option<StringOrList<ChatPart>>,
    refusal: Option<String>,
    name: Option<String>,
    #[serde(default, deserialize_with = "body::objects")]
    tool_calls: Option<Vec<ChatToolCall>>,
    tool_call_id: Option<String>,
    function_call: Option<de::IgnoredAny>,
    phase: Option<String>,
    // Named as ignored when present. Listed here because OpenAI and others send them as null or empty, which clients
    // return.
    #[expect(dead_code, reason = "serde reports the field")]
    audio: Option<de::IgnoredAny>,
    #[expect(dead_code, reason = "serde reports the field")]
    reasoning: Option<de::IgnoredAny>,
    #[expect(dead_code, reason = "serde reports the field")]
    reasoning_content: Option<de::IgnoredAny>,
    #[expect(dead_code, reason = "serde reports the field")]
    reasoning_details: Option<de::IgnoredAny>,
    #[expect(dead_code, reason = "serde reports the field")]
    parsed: Option<de::IgnoredAny>,
    #[expect(dead_code, reason = "serde reports the elements")]
    annotations: Option<Vec<de::IgnoredAny>>,
}

#[derive(Deserialize)]
struct ChatToolCall {
    id: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default, deserialize_with = "body::object")]
    function: Option<CalledFunction>,
}

#[derive(Deserialize)]
struct CalledFunction {
    name: String,
    arguments: String,
}

#[derive(Deserialize)]
struct ChatPart {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
    refusal: Option<String>,
    image_url: Option<ImageUrl>,
}

#[derive(Deserialize)]
struct ImageObject {
    url: String,
    detail: Option<String>,
}

struct ImageUrl(ImageObject);

/// Some clients write the URL as a string, without the object around it. Deserialized by hand, since serde's untagged
/// enum would lose the path to a wrong field.
impl<'de> Deserialize<'de> for ImageUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct UrlVisitor;

        impl<'de> Visitor<'de> for UrlVisitor {
            type Value = ImageUrl;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with a url")
            }

            fn visit_str<E: de::Error>(self, url: &str) -> Result<ImageUrl, E> {
                self.visit_string(url.to_owned())
            }

            fn visit_string<E: de::Error>(self, url: String) -> Result<ImageUrl, E> {
                Ok(ImageUrl(ImageObject { url, detail: None }))
            }

            fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<ImageUrl, A::Error> {
                Deserialize::deserialize(MapAccessDeserializer::new(object)).map(ImageUrl)
            }
        }

        deserializer.deserialize_any(UrlVisitor)
    }
}

/// Returns the reasoning items that came before the tool call with this id; empty when they are not known.
pub(super) type ReasoningLookup<'a> = dyn Fn(&str) -> Vec<ReasoningItem> + 'a;

/// Returns the items of a conversation.
///
/// # Errors
/// 400 for an invalid message, a tool call without an output, and an output without a call; `param` is the path of the
/// message.
pub(super) fn conversation(
    messages: Vec<ChatMessage>,
    reasoning: &ReasoningLookup<'_>,
    ignored: &mut IgnoredFields,
) -> Result<Vec<Item>, ApiError> {
    if messages.is_empty() {
        let text = "`messages` must contain at least one message, such as {\"role\": \"user\", \"content\": \"…\"}.";
        return Err(ApiError::invalid(text).at("messages"));
    }
    let mut conversation = ConversationBuilder {
        items: Vec::with_capacity(messages.len()),
        pending_calls: HashSet::new(),
        calling_message: 0,
        reasoning,
    };
    for (index, message) in messages.into_iter().enumerate() {
        ignored.add_if("messages[].name", message.name.is_some());
        let has_no_effect =
            |phase: &str| message.role != "assistant" || Phase::parse(phase).is_none();
        let phase = message.phase.as_deref();
        ignored.add_if("messages[].phase", phase.is_some_and(has_no_effect));
        conversation.push(index, message)?;
    }
    conversation.check_answered()?;
    // Empty assistant messages were left out, and Codex rejects a turn with an empty history.
    if conversation.items.is_empty() {
        let text = "All messages are empty assistant messages; add a user message.";
        return Err(ApiError::invalid(text).at("messages"));
    }
    Ok(conversation.items)
}

/// The conversation so far, with the tool calls that still need an output.
struct ConversationBuilder<'a> {
    items: Vec<Item>,
    pending_calls: HashSet<String>,
    /// The index of the message that made those calls.
    calling_message: usize,
    reasoning: &'a ReasoningLookup<'a>,
}

impl ConversationBuilder<'_> {
    fn push(&mut self, index: usize, message: ChatMessage) -> Result<(), ApiError> {
        if message.role == "tool" {
            return self.push_output(index, message);
        }
        // Any other message ends the outputs of the calls before it.
        self.check_answered()?;
        let role = match message.role.as_str() {
            "system" | "developer" => Role::Developer,
            "user" => Role::User,
            "assistant" => return self.push_assistant(index, message),
            "function" => {
                let text = "Unsupported role \"function\": functions are deprecated. Send `tools`, `tool_calls` and messages with the role tool.";
                return Err(ApiError::unsupported(
                    format!("messages[{index}].role"),
                    text,
                ));
            }
            other => {
                let text = format!(
                    "Invalid role {other:?}. Use system, developer, user, assistant or tool."
                );
                return Err(ApiError::invalid(text).at(format!("messages[{index}].role")));
            }
        };
        let content = content(index, message.content)?.ok_or_else(|| {
            ApiError::invalid("Missing `content` of the message.")
                .at(format!("messages[{index}].content"))
        })?;
        self.items.push(Item::Message(Message {
            role,
            content,
            phase: None,
        }));
        Ok(())
    }

    fn push_assistant(&mut self, index: usize, message: ChatMessage) -> Result<(), ApiError> {
        if message.function_call.is_some() {
            let text = "`function_call` is deprecated and not supported; send `tool_calls`.";
            return Err(ApiError::unsupported(
                format!("messages[{index}].function_call"),
                text,
            ));
        }
        let calls = message.tool_calls.unwrap_or_default();
        if let Some(first) = calls.first() {
            // The cache has the reasoning of a message under its first call. The item goes before the message and the
            // calls, which is the order in which the provider returned them.
            let reasoning = (self.reasoning)(&first.id);
            self.items
                .extend(reasoning.into_iter().map(Item::Reasoning));
        }
        let sent = message.content.filter(|content| !is_empty_list(content));
        let mut content = content(index, sent)?.unwrap_or_default();
        image::reject_images(&content, &format!("messages[{index}].content"))?;
        content.extend(message.refusal.map(Content::Text));
        // Clients send an empty string beside tool calls; as a message it would be an empty turn of the model.
        content.retain(|content| *content != Content::Text(String::new()));
        if !content.is_empty() {
            self.items.push(Item::Message(Message {
                role: Role::Assistant,
                content,
                phase: message.phase.as_deref().and_then(Phase::parse),
            }));
        }
        // Every call before this message has its output, so the pending calls are those of this message alone.
        self.calling_message = index;
        for (number, call) in calls.into_iter().enumerate() {
            let param = format!("messages[{index}].tool_calls[{number}]");
            self.push_call(call, &param)?;
        }
        Ok(())
    }

    fn push_call(&mut self, call: ChatToolCall, param: &str) -> Result<(), ApiError> {
        let function = match (call.kind.as_deref(), call.function) {
            (Some("function") | None, Some(function)) => function,
            (Some("function") | None, None) => {
                let text = "Missing `function` of the tool call.";
                return Err(ApiError::invalid(text).at(format!("{param}.function")));
            }
            (Some(other), _) => {
                let text = format!("Unsupported tool call type {other:?}. Use function.");
                return Err(ApiError::unsupported(format!("{param}.type"), text));
            }
        };
        check_call_id(&call.id, &format!("{param}.id"))?;
        check_tool_name(&function.name, &format!("{param}.function.name"))?;
        if !self.pending_calls.insert(call.id.clone()) {
            let text = format!(
                "Invalid tool call id {:?}: ids must be unique within a message.",
                call.id
            );
            return Err(ApiError::invalid(text).at(format!("{param}.id")));
        }
        self.items.push(Item::ToolCall(ToolCall {
            call_id: call.id,
            name: function.name,
            namespace: None,
            kind: ToolKind::Function,
            arguments: function.arguments,
        }));
        Ok(())
    }

    fn push_output(&mut self, index: usize, message: ChatMessage) -> Result<(), ApiError> {
        let call_id = message.tool_call_id.ok_or_else(|| {
            let text = "Missing `tool_call_id` of the tool message: the id of the call that it belongs to.";
            ApiError::invalid(text).at(format!("messages[{index}].tool_call_id"))
        })?;
        if !self.pending_calls.remove(&call_id) {
            let text = format!(
                "`tool` message refers to unknown tool_call_id {call_id:?}; it must follow the assistant message that made the call."
            );
            return Err(ApiError::invalid(text).at(format!("messages[{index}].tool_call_id")));
        }
        let content = content(index, message.content)?.unwrap_or_default();
        self.items
            .push(Item::ToolOutput(ToolOutput { call_id, content }));
        Ok(())
    }

    /// Rejects tool calls without an output. Codex would insert an output of its own, and the model would rely on it.
    fn check_answered(&self) -> Result<(), ApiError> {
        if self.pending_calls.is_empty() {
            return Ok(());
        }
        let text = format!(
            "Missing tool message for the tool calls {}: each call must be followed by a tool message with its output.",
            first_ids(&self.pending_calls)
        );
        Err(ApiError::invalid(text).at(format!("messages[{}].tool_calls", self.calling_message)))
    }
}

/// Lists at most five ids. Sorted, so that the same request has the same message.
fn first_ids(ids: &HashSet<String>) -> String {
    const MAX_IDS: usize = 5;
    let mut ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    ids.sort_unstable();
    ids.truncate(MAX_IDS);
    ids.join(", ")
}

fn is_empty_list<T>(content: &StringOrList<T>) -> bool {
    matches!(content, StringOrList::List(parts) if parts.is_empty())
}

/// Returns the content of a message, or `None` when the field is absent. An empty list is rejected as a mistake.
fn content(
    index: usize,
    content: Option<StringOrList<ChatPart>>,
) -> Result<Option<Vec<Content>>, ApiError> {
    match content {
        None => Ok(None),
        Some(StringOrList::Text(text)) => Ok(Some(vec![Content::Text(text)])),
        Some(StringOrList::List(parts)) if parts.is_empty() => {
            let text = "`content` must have at least one part.";
            Err(ApiError::invalid(text).at(format!("messages[{index}].content")))
        }
        Some(StringOrList::List(parts)) => parts
            .into_iter()
            .enumerate()
            .map(|(number, part)| parse_part(part, &format!("messages[{index}].content[{number}]")))
            .collect::<Result<_, _>>()
            .map(Some),
    }
}

fn parse_part(part: ChatPart, param: &str) -> Result<Content, ApiError> {
    let missing = |field: &str| {
        ApiError::invalid(format!("Missing `{field}` of the content part."))
            .at(format!("{param}.{field}"))
    };
    match part.kind.as_str() {
        // The names of the Responses API too: clients copy parts from one API to the other.
        "text" | "input_text" | "output_text" => {
            let text = part.text.ok_or_else(|| missing("text"))?;
            Ok(Content::Text(text))
        }
        "refusal" => {
            let text = part.refusal.ok_or_else(|| missing("refusal"))?;
            Ok(Content::Text(text))
        }
        "image_url" => {
            let image_url = part.image_url.ok_or_else(|| missing("image_url"))?;
            parse_image(image_url, &format!("{param}.image_url"))
        }
        other => {
            let text = format!("Unsupported content part type {other:?}. Use text or image_url.");
            Err(ApiError::unsupported(format!("{param}.type"), text))
        }
    }
}

fn parse_image(image_url: ImageUrl, param: &str) -> Result<Content, ApiError> {
    let ImageUrl(ImageObject { url, detail }) = image_url;
    let detail = image::parse_detail(detail.as_deref(), param)?;
    image::parse_image(url, detail, format!("{param}.url")).map(Content::Image)
}
