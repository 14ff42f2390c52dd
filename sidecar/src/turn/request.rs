//! The request of a turn: the conversation, the client's tools, the format of the output.
//! The items are modelled on the Responses API, which Codex itself uses.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::allowance::SpentLimit;
use super::digest::ConversationDigest;
use super::image::Image;
use super::memory::MemoryHold;
use super::model::Model;

/// Longest name of a conversation, in bytes; OpenAI's `prompt_cache_key` has at most 64 characters.
const MAX_HINT: usize = 256;

/// The request of a turn, independent of the route.
#[derive(Debug, Clone)]
pub struct TurnRequest {
    /// The profile of the client.
    pub profile: Profile,
    /// The model for the turn.
    pub model: Model,
    /// The whole conversation, oldest item first. The model answers the last items.
    pub conversation: Vec<Item>,
    /// The tools that the client runs.
    pub tools: Tools,
    /// The JSON schema of the output, if any.
    pub schema: Option<Box<RawValue>>,
    /// The amount of reasoning summary that the client asked for.
    pub summary: Summary,
    /// The memory of the conversation, held until a child has it.
    pub memory: MemoryHold,
    /// The client's own name of the conversation: `prompt_cache_key`, or a header.
    pub hint: Option<Box<str>>,
    /// The cap of an agent's model requests, for a key with a budget.
    pub token_cap: Option<TokenCap>,
    /// The digests of the conversation; none for a request that continues no thread.
    pub digest: ConversationDigest,
}

/// The weighted tokens of input and output after which Codex itself ends the turn of an agent, before its next model request.
/// Cached input does not count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenCap {
    /// The limit of the key that the cap is for.
    pub limit: SpentLimit,
    /// The tokens that the limit has left.
    pub tokens: u64,
    /// The weight of a token of the input.
    pub input_weight: f64,
    /// The weight of a token of the output.
    pub output_weight: f64,
}

/// The capabilities of Codex for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// A model without tools of its own.
    Chat,
    /// An agent with Codex's own tools, in a sandbox and a working directory of its own.
    Agent,
}

/// The amount of reasoning summary.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Summary {
    /// No summary.
    #[default]
    None,
    /// The model's default.
    Auto,
    /// A short summary.
    Concise,
    /// A long summary.
    Detailed,
}

impl Summary {
    /// Returns the name that OpenAI and Codex share.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Auto => "auto",
            Self::Concise => "concise",
            Self::Detailed => "detailed",
        }
    }

    /// Parses a name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::None, Self::Auto, Self::Concise, Self::Detailed]
            .into_iter()
            .find(|summary| summary.as_str() == name)
    }
}

/// Functions that the client runs when the model calls them.
#[derive(Debug, Clone, Default)]
pub struct Tools {
    /// The functions that are offered to the model; their names are unique.
    pub offered: Vec<Tool>,
    /// Whether the model must call one of them.
    pub required: bool,
    /// Whether only the first call of a turn is forwarded (`parallel_tool_calls: false`).
    pub one_at_a_time: bool,
}

/// A function.
#[derive(Debug, Clone)]
pub struct Tool {
    /// The name, from ASCII letters, digits, `_` and `-`.
    pub name: String,
    /// The namespace that the client has put the function in.
    pub namespace: Option<Arc<ToolNamespace>>,
    /// The form of the calls.
    pub kind: ToolKind,
    /// The description for the model.
    pub description: String,
    /// The JSON schema of the arguments, as Codex passes it on.
    pub parameters: Box<RawValue>,
}

/// A namespace of functions, such as the tools of one MCP server of a client.
#[derive(Debug, PartialEq, Eq)]
pub struct ToolNamespace {
    /// The name, from ASCII letters, digits, `_` and `-`.
    pub name: String,
    /// The description for the model.
    pub description: String,
}

/// The form of a tool's calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToolKind {
    /// The arguments are JSON.
    #[default]
    Function,
    /// The arguments are free text: OpenAI's custom tools.
    Custom,
}

impl TurnRequest {
    /// Sets the client's own name of the conversation, unless it has one. An overlong name is left out.
    #[must_use]
    pub fn with_hint(self, name: Option<&str>) -> Self {
        let name = name.filter(|name| name.len() <= MAX_HINT);
        Self {
            hint: self.hint.or_else(|| name.map(Box::from)),
            ..self
        }
    }

    /// Returns the approximate bytes that the conversation and the tools take in memory.
    pub fn size(&self) -> usize {
        let items: usize = self.conversation.iter().map(Item::size).sum();
        let tool =
            |tool: &Tool| size_of::<Tool>() + tool.description.len() + tool.parameters.get().len();
        let tools: usize = self.tools.offered.iter().map(tool).sum();
        let schema = self.schema.as_ref().map_or(0, |schema| schema.get().len());
        items + tools + schema
    }

    /// Returns the characters of text in the conversation.
    pub fn prompt_chars(&self) -> usize {
        self.conversation.iter().map(Item::chars).sum()
    }

    /// Whether the conversation has output of the model: an earlier request of it has been answered.
    pub fn has_answer(&self) -> bool {
        self.conversation.iter().any(Item::is_answer)
    }

    /// Returns the images of the conversation, oldest first.
    pub fn images(&self) -> impl Iterator<Item = &Image> {
        self.conversation.iter().flat_map(Item::images)
    }
}

/// An item of the conversation. Serialised as stores keep it, in a form of its own: every field by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Item {
    /// A message.
    Message(Message),
    /// A tool call of the model.
    ToolCall(ToolCall),
    /// The output of a tool call, from the client.
    ToolOutput(ToolOutput),
    /// A reasoning item of the model.
    Reasoning(ReasoningItem),
}

impl Item {
    /// Returns the approximate bytes that the item takes in memory.
    pub fn size(&self) -> usize {
        let content = match self {
            Self::Message(message) => size_of_contents(&message.content),
            Self::ToolCall(call) => call.size(),
            Self::ToolOutput(output) => output.call_id.len() + size_of_contents(&output.content),
            Self::Reasoning(item) => item.size(),
        };
        size_of::<Self>() + content
    }

    /// Returns the images of a message or of a tool output.
    pub fn images(&self) -> impl Iterator<Item = &Image> {
        let content = match self {
            Self::Message(message) => message.content.as_slice(),
            Self::ToolOutput(output) => &output.content,
            Self::ToolCall(_) | Self::Reasoning(_) => &[],
        };
        content.iter().filter_map(|content| match content {
            Content::Image(image) => Some(image),
            Content::Text(_) => None,
        })
    }

    /// Whether the model made the item.
    pub fn is_answer(&self) -> bool {
        match self {
            Self::Message(message) => message.role == Role::Assistant,
            Self::ToolCall(_) => true,
            Self::ToolOutput(_) | Self::Reasoning(_) => false,
        }
    }

    /// Forgets the places of the images: they belong to an earlier request, which has checked them.
    pub fn forget_places(&mut self) {
        let content = match self {
            Self::Message(message) => &mut message.content,
            Self::ToolOutput(output) => &mut output.content,
            Self::ToolCall(_) | Self::Reasoning(_) => return,
        };
        for part in content {
            if let Content::Image(image) = part {
                image.place = None;
            }
        }
    }

    fn chars(&self) -> usize {
        match self {
            Self::Message(message) => chars_of(&message.content),
            Self::ToolCall(call) => call.name.chars().count() + call.arguments.chars().count(),
            Self::ToolOutput(output) => chars_of(&output.content),
            Self::Reasoning(_) => 0, // Encrypted; its length says little about its tokens.
        }
    }
}

fn size_of_contents(contents: &[Content]) -> usize {
    let size = |content: &Content| {
        let text = match content {
            Content::Text(text) => text,
            Content::Image(image) => &image.url,
        };
        size_of::<Content>() + text.len()
    };
    contents.iter().map(size).sum()
}

fn chars_of(contents: &[Content]) -> usize {
    let chars = |content: &Content| match content {
        Content::Text(text) => text.chars().count(),
        Content::Image(_) => 0,
    };
    contents.iter().map(chars).sum()
}

/// A tool call, as the model made it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The id of the call, from the model.
    pub call_id: String,
    /// The name of the tool; the model may name one that was not offered.
    pub name: String,
    /// The namespace of the tool.
    pub namespace: Option<String>,
    /// The form of the arguments.
    pub kind: ToolKind,
    /// The arguments as the model wrote them, possibly invalid JSON.
    pub arguments: String,
}

impl ToolCall {
    /// Returns the bytes of the texts.
    pub fn size(&self) -> usize {
        let namespace = self.namespace.as_ref().map_or(0, String::len);
        self.call_id.len() + self.name.len() + namespace + self.arguments.len()
    }
}

// By hand, here and below: a derived `Debug` would put prompts into the log.
impl fmt::Debug for ToolCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = (&self.namespace, &self.name);
        f.debug_tuple("ToolCall").field(&name).finish()
    }
}

/// The output of a tool call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolOutput {
    /// The id of the call.
    pub call_id: String,
    /// The content that the tool returned.
    pub content: Vec<Content>,
}

/// The reasoning of the model at one point of the conversation.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasoningItem {
    /// The parts of the readable summary.
    pub summary: Vec<String>,
    /// The reasoning itself, which only the provider can decrypt when a later request returns it.
    pub encrypted_content: Option<String>,
}

impl fmt::Debug for ReasoningItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.summary.len();
        write!(f, "ReasoningItem([redacted], {parts} parts)")
    }
}

impl ReasoningItem {
    /// Returns the bytes of the texts.
    pub fn size(&self) -> usize {
        let encrypted = self.encrypted_content.as_ref().map_or(0, String::len);
        self.summary.iter().map(String::len).sum::<usize>() + encrypted
    }
}

/// A message of the conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The author. Never written into the text, so that text cannot forge a role.
    pub role: Role,
    /// The parts of the message, in order.
    pub content: Vec<Content>,
    /// The phase of a message of the model, if the model named one.
    pub phase: Option<Phase>,
}

/// The part that a message of the model plays in its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// A remark on the way to the answer.
    Commentary,
    /// The answer.
    FinalAnswer,
}

impl Phase {
    /// Parses a name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "commentary" => Some(Self::Commentary),
            "final_answer" => Some(Self::FinalAnswer),
            _ => None,
        }
    }
}

/// The author of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// The application: `system` and `developer` in the OpenAI API.
    Developer,
    /// The user of the application.
    User,
    /// The model, in an earlier turn.
    Assistant,
}

/// A part of a message. `Debug` shows no content, since prompts must not reach the log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// Plain text.
    Text(String),
    /// An image.
    Image(Image),
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text([redacted])"),
            Self::Image(image) => image.fmt(f),
        }
    }
}
