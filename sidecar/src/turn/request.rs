//! What a client asks of a model: the conversation, the tools it can run, the shape of the answer.
//! The items are those of the Responses API, since that is what Codex is made of.

use std::fmt;

use serde::Serialize;
use serde_json::value::RawValue;

/// What a client asks for, whichever dialect it speaks.
#[derive(Debug, Clone)]
pub struct TurnRequest {
    /// What Codex is for this client.
    pub profile: Profile,
    /// The model that Codex is told to use.
    pub model: Model,
    /// The whole conversation, oldest first; what comes last is to be answered.
    pub conversation: Vec<Item>,
    /// What the client can do for the model.
    pub tools: Tools,
    /// The shape that the answer must have, as a JSON schema.
    pub schema: Option<Box<RawValue>>,
    /// How much the client wants to read of the model's reasoning.
    pub summary: Summary,
}

/// What Codex is for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// A plain model.
    Chat,
    /// An agent with tools of its own, in a sandbox and a folder of its own.
    Agent,
}

/// A model as Codex names it, with the effort it shall spend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// The name that is sent to the model provider.
    pub name: String,
    /// `None` leaves the effort to Codex.
    pub effort: Option<Effort>,
}

/// How long a model may think before it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// Hardly at all.
    Minimal,
    /// A little.
    Low,
    /// The usual amount.
    Medium,
    /// As long as it takes.
    High,
}

impl Effort {
    /// Every effort, from the least to the most.
    pub const ALL: [Self; 4] = [Self::Minimal, Self::Low, Self::Medium, Self::High];

    /// The word that OpenAI and Codex share for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minimal => "minimal",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }

    /// The effort that `word` names, in any case.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|effort| effort.as_str().eq_ignore_ascii_case(word))
    }
}

/// How much a client wants to read of the model's reasoning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Summary {
    /// Nothing.
    #[default]
    None,
    /// As much as the model gives by itself.
    Auto,
    /// Little.
    Concise,
    /// Much.
    Detailed,
}

impl Summary {
    /// The word that OpenAI and Codex share for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Auto => "auto",
            Self::Concise => "concise",
            Self::Detailed => "detailed",
        }
    }

    /// The amount that `word` names.
    pub fn parse(word: &str) -> Option<Self> {
        let all = [Self::None, Self::Auto, Self::Concise, Self::Detailed];
        all.into_iter().find(|summary| summary.as_str() == word)
    }
}

/// Functions that the client runs when the model calls them.
#[derive(Debug, Clone, Default)]
pub struct Tools {
    /// What the model may call; the names differ.
    pub offered: Vec<Tool>,
    /// Whether an answer without a call is none.
    pub required: bool,
    /// Whether only the first call of an answer is wanted.
    pub one_at_a_time: bool,
}

/// One function.
#[derive(Debug, Clone)]
pub struct Tool {
    /// ASCII letters, digits, `_` and `-`.
    pub name: String,
    /// What it does, for the model.
    pub description: String,
    /// A JSON schema of its arguments, as the client wrote it.
    pub parameters: Box<RawValue>,
}

impl TurnRequest {
    /// Characters of text in the conversation.
    pub fn prompt_chars(&self) -> usize {
        self.conversation.iter().map(Item::chars).sum()
    }
}

/// One step of the conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// Something was said.
    Message(Message),
    /// The model called a tool.
    ToolCall(ToolCall),
    /// The client answered such a call.
    ToolOutput(ToolOutput),
    /// The model thought.
    Reasoning(ReasoningItem),
}

impl Item {
    /// Bytes that it takes in memory, about.
    pub fn size(&self) -> usize {
        let content = match self {
            Self::Message(message) => size_of_contents(&message.content),
            Self::ToolCall(call) => call.call_id.len() + call.name.len() + call.arguments.len(),
            Self::ToolOutput(output) => output.call_id.len() + size_of_contents(&output.content),
            Self::Reasoning(item) => item.size(),
        };
        size_of::<Self>() + content
    }

    fn chars(&self) -> usize {
        match self {
            Self::Message(message) => chars_of(&message.content),
            Self::ToolCall(call) => call.name.chars().count() + call.arguments.chars().count(),
            Self::ToolOutput(output) => chars_of(&output.content),
            Self::Reasoning(_) => 0,
        }
    }
}

fn size_of_contents(contents: &[Content]) -> usize {
    let sizes = contents.iter().map(|content| {
        let text = match content {
            Content::Text(text) => text,
            Content::Image(image) => &image.url,
        };
        size_of::<Content>() + text.len()
    });
    sizes.sum()
}

fn chars_of(contents: &[Content]) -> usize {
    let texts = contents.iter().map(|content| match content {
        Content::Text(text) => text.chars().count(),
        Content::Image(_) => 0,
    });
    texts.sum()
}

/// A call of a tool, as the model made it.
#[derive(Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// The model's own id of the call.
    pub call_id: String,
    /// The tool; the model may name one that nobody offered.
    pub name: String,
    /// The arguments as the model wrote them, which need not be JSON.
    pub arguments: String,
}

impl fmt::Debug for ToolCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ToolCall({:?}, [redacted])", self.name)
    }
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolOutput {
    /// The call that is answered.
    pub call_id: String,
    /// What the tool returned.
    pub content: Vec<Content>,
}

/// What the model thought at one place of the conversation.
#[derive(Clone, PartialEq, Eq)]
pub struct ReasoningItem {
    /// What people may read of it, in parts.
    pub summary: Vec<String>,
    /// What only the provider can read, when it comes back with the next request.
    pub encrypted_content: Option<String>,
}

impl fmt::Debug for ReasoningItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReasoningItem([redacted])")
    }
}

impl ReasoningItem {
    /// Bytes of its texts.
    pub fn size(&self) -> usize {
        let encrypted = self.encrypted_content.as_ref().map_or(0, String::len);
        self.summary.iter().map(String::len).sum::<usize>() + encrypted
    }
}

/// One message of the conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who speaks. Text cannot forge it: it is never written into the text.
    pub role: Role,
    /// What is said, in order.
    pub content: Vec<Content>,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The application; OpenAI's `system` and `developer`.
    Developer,
    /// The person.
    User,
    /// The model, in an earlier turn.
    Assistant,
}

/// A part of a message. Prompts stay out of the log, so `Debug` shows no content.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// Plain text.
    Text(String),
    /// An image.
    Image(Image),
}

/// An image for the model.
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    /// A data URL (RFC 2397).
    pub url: String,
    /// How closely the model shall look; `None` leaves it to the provider.
    pub detail: Option<Detail>,
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Image([redacted], {:?})", self.detail)
    }
}

/// How closely a model looks at an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Detail {
    /// As the provider thinks best.
    Auto,
    /// At a small copy.
    Low,
    /// At all of it.
    High,
}

impl Detail {
    /// The detail that `word` names.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "auto" => Some(Self::Auto),
            "low" => Some(Self::Low),
            "high" => Some(Self::High),
            _ => None,
        }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text([redacted])"),
            Self::Image(image) => image.fmt(f),
        }
    }
}
