//! The messages of a chat -> the steps of a conversation, with every call of a tool answered.
//! OpenAI API reference, "Create chat completion", `messages`.

use std::collections::HashSet;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::openai::request::body;
use crate::openai::request::image;
use crate::openai::request::string_or_list::StringOrList;
use crate::openai::{ApiError, Ignored};
use crate::turn::{Content, Item, Message, ReasoningItem, Role, ToolCall, ToolOutput};

#[derive(Deserialize)]
pub(super) struct RawMessage {
    role: String,
    content: Option<StringOrList<RawPart>>,
    refusal: Option<String>,
    name: Option<String>,
    #[serde(default, deserialize_with = "body::objects")]
    tool_calls: Option<Vec<RawToolCall>>,
    tool_call_id: Option<String>,
    function_call: Option<de::IgnoredAny>,
}

#[derive(Deserialize)]
struct RawToolCall {
    id: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default, deserialize_with = "body::object")]
    function: Option<RawFunction>,
}

#[derive(Deserialize)]
struct RawFunction {
    name: String,
    arguments: String,
}

#[derive(Deserialize)]
struct RawPart {
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

/// By hand, so that the path to a wrong field is not lost; some clients write the address without the object around it.
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

/// What the model thought before it made a call, if that is still known.
pub(super) type Recall<'a> = dyn Fn(&str) -> Vec<ReasoningItem> + 'a;

/// The conversation.
///
/// # Errors
/// A message is not one, a call has no answer, or an answer no call; `param` points at the message.
pub(super) fn conversation(
    messages: Vec<RawMessage>,
    recall: &Recall<'_>,
    ignored: &mut Ignored,
) -> Result<Vec<Item>, ApiError> {
    if messages.is_empty() {
        let text = "A conversation needs at least one message: messages: [{\"role\": \"user\", \"content\": \"…\"}].";
        return Err(ApiError::invalid(text).at("messages"));
    }
    let mut conversation = Conversation {
        items: Vec::with_capacity(messages.len()),
        unanswered: HashSet::new(),
        caller: 0,
        recall,
    };
    for (index, message) in messages.into_iter().enumerate() {
        ignored.note("messages[].name", message.name.is_some());
        conversation.push(index, message)?;
    }
    conversation.check_answered()?;
    // Codex begins no turn with a history of nothing.
    if conversation.items.is_empty() {
        let text = "A conversation of empty messages of the assistant leaves nothing to answer.";
        return Err(ApiError::invalid(text).at("messages"));
    }
    Ok(conversation.items)
}

/// A conversation so far, with the calls that wait for their answers.
struct Conversation<'a> {
    items: Vec<Item>,
    unanswered: HashSet<String>,
    /// The message that made those calls.
    caller: usize,
    recall: &'a Recall<'a>,
}

impl Conversation<'_> {
    fn push(&mut self, index: usize, message: RawMessage) -> Result<(), ApiError> {
        if message.role == "tool" {
            return self.push_output(index, message);
        }
        self.check_answered()?;
        let role = match message.role.as_str() {
            "system" | "developer" => Role::Developer,
            "user" => Role::User,
            "assistant" => return self.push_assistant(index, message),
            "function" => {
                let text = "Functions are deprecated; send tools, tool_calls and messages of the role tool.";
                return Err(ApiError::unsupported(
                    format!("messages[{index}].role"),
                    text,
                ));
            }
            other => {
                let text = format!(
                    "{other:?} is no role; use system, developer, user, assistant or tool."
                );
                return Err(ApiError::invalid(text).at(format!("messages[{index}].role")));
            }
        };
        let content = content(index, message.content)?.ok_or_else(|| {
            ApiError::invalid("A message needs content.").at(format!("messages[{index}].content"))
        })?;
        self.items.push(Item::Message(Message { role, content }));
        Ok(())
    }

    fn push_assistant(&mut self, index: usize, message: RawMessage) -> Result<(), ApiError> {
        if message.function_call.is_some() {
            let text = "Functions are deprecated; send tool_calls.";
            return Err(ApiError::unsupported(
                format!("messages[{index}].function_call"),
                text,
            ));
        }
        let calls = message.tool_calls.unwrap_or_default();
        if let Some(first) = calls.first() {
            let thoughts = (self.recall)(&first.id);
            self.items.extend(thoughts.into_iter().map(Item::Reasoning));
        }
        let mut content = content(index, message.content)?.unwrap_or_default();
        content.extend(message.refusal.map(Content::Text));
        content.retain(|content| *content != Content::Text(String::new()));
        if !content.is_empty() {
            let role = Role::Assistant;
            self.items.push(Item::Message(Message { role, content }));
        }
        self.caller = index;
        for (number, call) in calls.into_iter().enumerate() {
            let param = format!("messages[{index}].tool_calls[{number}]");
            self.push_call(call, &param)?;
        }
        Ok(())
    }

    fn push_call(&mut self, call: RawToolCall, param: &str) -> Result<(), ApiError> {
        let function = match (call.kind.as_deref(), call.function) {
            (Some("function") | None, Some(function)) => function,
            (Some("function") | None, None) => {
                return Err(
                    ApiError::invalid("A call needs a function.").at(format!("{param}.function"))
                );
            }
            (Some(other), _) => {
                let text = format!("Calls of the type {other:?} are not supported; use function.");
                return Err(ApiError::unsupported(format!("{param}.type"), text));
            }
        };
        if !self.unanswered.insert(call.id.clone()) {
            let text = format!("Two calls of one message have the id {:?}.", call.id);
            return Err(ApiError::invalid(text).at(format!("{param}.id")));
        }
        self.items.push(Item::ToolCall(ToolCall {
            call_id: call.id,
            name: function.name,
            arguments: function.arguments,
        }));
        Ok(())
    }

    fn push_output(&mut self, index: usize, message: RawMessage) -> Result<(), ApiError> {
        let call_id = message.tool_call_id.ok_or_else(|| {
            let text =
                "A message of the role tool needs the tool_call_id of the call that it answers.";
            ApiError::invalid(text).at(format!("messages[{index}].tool_call_id"))
        })?;
        if !self.unanswered.remove(&call_id) {
            let text = format!(
                "A message of the role tool answers a call of the assistant's message before it, and none there has the id {call_id:?}."
            );
            return Err(ApiError::invalid(text).at(format!("messages[{index}].tool_call_id")));
        }
        let content = content(index, message.content)?.unwrap_or_default();
        self.items
            .push(Item::ToolOutput(ToolOutput { call_id, content }));
        Ok(())
    }

    /// Codex would make up the answers that are missing, and the model believe them.
    fn check_answered(&self) -> Result<(), ApiError> {
        if self.unanswered.is_empty() {
            return Ok(());
        }
        let text = format!(
            "Each call has to be answered by a message of the role tool right after it; there is none for {}.",
            some_of(&self.unanswered)
        );
        Err(ApiError::invalid(text).at(format!("messages[{}].tool_calls", self.caller)))
    }
}

/// As many as fit into a sentence, always the same ones.
fn some_of(ids: &HashSet<String>) -> String {
    const MOST: usize = 5;
    let mut ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    ids.sort_unstable();
    ids.truncate(MOST);
    ids.join(", ")
}

/// `None` when there is none; an empty list is none that can be meant.
fn content(
    index: usize,
    content: Option<StringOrList<RawPart>>,
) -> Result<Option<Vec<Content>>, ApiError> {
    match content {
        None => Ok(None),
        Some(StringOrList::Text(text)) => Ok(Some(vec![Content::Text(text)])),
        Some(StringOrList::List(parts)) if parts.is_empty() => {
            let text = "A list of content parts needs at least one part.";
            Err(ApiError::invalid(text).at(format!("messages[{index}].content")))
        }
        Some(StringOrList::List(parts)) => {
            let numbered = parts.into_iter().enumerate();
            let parts = numbered.map(|(number, part)| {
                read_part(part, &format!("messages[{index}].content[{number}]"))
            });
            parts.collect::<Result<_, _>>().map(Some)
        }
    }
}

fn read_part(part: RawPart, param: &str) -> Result<Content, ApiError> {
    let missing = |field: &str| {
        ApiError::invalid(format!("This part needs {field}.")).at(format!("{param}.{field}"))
    };
    match part.kind.as_str() {
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
            read_image(image_url, &format!("{param}.image_url"))
        }
        other => {
            let text =
                format!("Parts of the type {other:?} are not supported; use text or image_url.");
            Err(ApiError::unsupported(format!("{param}.type"), text))
        }
    }
}

fn read_image(image_url: ImageUrl, param: &str) -> Result<Content, ApiError> {
    let ImageUrl(ImageObject { url, detail }) = image_url;
    let detail = image::detail(detail.as_deref(), param)?;
    let image = image::read(url, detail)
        .map_err(|text| ApiError::unsupported(format!("{param}.url"), text))?;
    Ok(Content::Image(image))
}
