//! The refusal of a request by the provider or by Codex: its reason, and the part of the request that it is about.

use std::fmt;

/// A part of a request. Each wire format has a name of its own for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestField {
    /// The conversation, instructions included.
    Conversation,
    /// The client's tools.
    Tools,
    /// The JSON schema of the output.
    OutputSchema,
    /// The reasoning effort.
    Effort,
    /// The reasoning summary.
    Summary,
    /// The length of the text.
    Verbosity,
    /// The service tier.
    ServiceTier,
    /// The model.
    Model,
}

/// The refusal of a request. A retry of the same request is refused again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The reason, for the client.
    pub sentence: String,
    /// The code of the OpenAI API, if one is known.
    pub code: Option<String>,
    /// The part of the request, if it can be told.
    pub field: Option<RequestField>,
}

impl<T: Into<String>> From<T> for Refusal {
    fn from(sentence: T) -> Self {
        Self {
            sentence: sentence.into(),
            code: None,
            field: None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}
