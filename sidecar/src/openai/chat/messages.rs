//! Converts the messages of a chat to the items of a conversation, and checks that every tool call has an output.
//! OpenAI API reference, "Create chat completion", `messages`.

use std::collections::HashSet;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::earlier_reasoning::ClientReasoning;
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
    reasoning_content: Option<String>,
    // Named as ignored when present. Listed here because OpenAI and others send them as null or empty, which clients
    // return.
    #[expect(dead_code, reason = "serde reports the field")]
    audio: Option<de::IgnoredAny>,
    #[expect(dead_code, reason = "serde reports the field")]
    reasoning: Option<de::IgnoredAny>,
    #[expect(dead_code, reason = "serde reports the field")]
    reasoning_details: Option<de::IgnoredAny>,
    #[expect(dead_code, reason = "serde reports the field")]
    parsed: Option<de::IgnoredAny>,
    #[expect(dead_code, reason = "serde reports the elements")]
    annotations: Option<Vec<de::IgnoredAny>>,
}

#[derive(Deserialize)]
pub(super) struct ChatToolCall {
    id: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default, deserialize_with = "body::object")]
    function: Option<CalledFunction>,
}

#[derive(Deserialize)]
pub(super) struct CalledFunction {
    name: String,
    arguments: String,
}

#[derive(Deserialize)]
pub(super) struct ChatPart {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
    refusal: Option<String>,
    image_url: Option<ImageUrl>,
}

#[derive(Deserialize)]
pub(super) struct ImageObject {
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

/// Returns the items of a conversation.
///
/// # Errors
/// 400 for an invalid message, a tool call without an output, and an output without a call; `param` is the path of the
/// message.
pub(super) fn conversation(
    messages: Vec<ChatMessage>,
    reasoning: ClientReasoning<'_>,
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
        ignored,
    };
    for (index, message) in messages.into_iter().enumerate() {
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
    reasoning: ClientReasoning<'a>,
    ignored: &'a mut IgnoredFields,
}

impl ConversationBuilder<'_> {
    fn push(&mut self, index: usize, message: ChatMessage) -> Result<(), ApiError> {
        self.add_ignored(&message);
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
        let content = content(index, message.content, self.ignored)?.ok_or_else(|| {
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

    fn add_ignored(&mut self, message: &ChatMessage) {
        let is_assistant = message.role == "assistant";
        let has_no_effect = |phase: &str| !is_assistant || Phase::parse(phase).is_none();
        let phase = message.phase.as_deref();
        let reasoning = message.reasoning_content.is_some();
        for (path, is_present) in [
            ("messages[].name", message.name.is_some()),
            ("messages[].phase", phase.is_some_and(has_no_effect)),
            ("messages[].reasoning_content", reasoning && !is_assistant),
            (
                "messages[].refusal",
                message.refusal.is_some() && !is_assistant,
            ),
            (
                "messages[].tool_calls",
                message.tool_calls.is_some() && !is_assistant,
            ),
            (
                "messages[].tool_call_id",
                message.tool_call_id.is_some() && message.role != "tool",
            ),
        ] {
            self.ignored.add_if(path, is_present);
        }
    }

    /// Adds the reasoning items of a message of the model, as far as they are cached.
    fn push_reasoning(
        &mut self,
        first_call: Option<&ChatToolCall>,
        content: &[Content],
        sent_summary: Option<&str>,
    ) {
        let reasoning = match (first_call, sent_summary) {
            // The cache has the reasoning of a message under its first call.
            (Some(call), _) => self.reasoning.before_call(&call.id),
            (None, Some(summary)) if !summary.is_empty() => {
                self.reasoning.before_text(summary, &text(content))
            }
            (None, _) => Vec::new(),
        };
        // A client that edits the summary of a call cannot edit the reasoning, which is encrypted.
        let is_sent = |summary: &str| !summary.is_empty() && !is_summary_of(summary, &reasoning);
        self.ignored.add_if(
            "messages[].reasoning_content",
            sent_summary.is_some_and(is_sent),
        );
        self.items
            .extend(reasoning.into_iter().map(Item::Reasoning));
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
        let sent = message.content.filter(|content| !is_empty_list(content));
        let mut content = content(index, sent, self.ignored)?.unwrap_or_default();
        image::reject_images(&content, &format!("messages[{index}].content"))?;
        content.extend(message.refusal.map(Content::Text));
        // Clients send an empty string beside tool calls; as a message it would be an empty turn of the model.
        content.retain(|content| *content != Content::Text(String::new()));
        // Before the message and the calls, which is the order in which the provider returned them.
        let summary = message.reasoning_content.as_deref();
        self.push_reasoning(calls.first(), &content, summary);
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
        let content = content(index, message.content, self.ignored)?.unwrap_or_default();
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

fn text(content: &[Content]) -> String {
    let texts = content.iter().filter_map(|part| match part {
        Content::Text(text) => Some(text.as_str()),
        Content::Image(_) => None,
    });
    texts.collect()
}

/// Whether `summary` is that of these items. White space is not compared: clients trim texts.
fn is_summary_of(summary: &str, items: &[ReasoningItem]) -> bool {
    let parts = items.iter().flat_map(|item| &item.summary);
    let cached = parts
        .flat_map(|part| part.split_whitespace())
        .flat_map(str::chars);
    cached.eq(summary.split_whitespace().flat_map(str::chars))
}

fn is_empty_list<T>(content: &StringOrList<T>) -> bool {
    matches!(content, StringOrList::List(parts) if parts.is_empty())
}

/// Returns the content of a message, or `None` when the field is absent. An empty list is rejected as a mistake.
fn content(
    index: usize,
    content: Option<StringOrList<ChatPart>>,
    ignored: &mut IgnoredFields,
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
            .map(|(number, part)| {
                add_ignored_of_part(&part, ignored);
                parse_part(part, &format!("messages[{index}].content[{number}]"))
            })
            .collect::<Result<_, _>>()
            .map(Some),
    }
}

/// Adds the fields that belong to a part of another type.
fn add_ignored_of_part(part: &ChatPart, ignored: &mut IgnoredFields) {
    let is_text = matches!(part.kind.as_str(), "text" | "input_text" | "output_text");
    for (path, is_present) in [
        ("messages[].content[].text", part.text.is_some() && !is_text),
        (
            "messages[].content[].refusal",
            part.refusal.is_some() && part.kind != "refusal",
        ),
        (
            "messages[].content[].image_url",
            part.image_url.is_some() && part.kind != "image_url",
        ),
    ] {
        ignored.add_if(path, is_present);
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
