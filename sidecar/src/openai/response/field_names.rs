//! The names of a request's parts in each wire format, for the `param` of an error.
//! OpenAI API reference: "Chat completions", "Completions (legacy)", "Responses".

use crate::turn::RequestField;

/// The names that differ between the wire formats.
#[derive(Debug)]
pub(crate) struct FieldNames {
    conversation: &'static str,
    output_schema: &'static str,
    effort: &'static str,
    summary: &'static str,
    verbosity: &'static str,
}

impl FieldNames {
    /// `/v1/chat/completions`.
    pub(crate) const CHAT: Self = Self {
        conversation: "messages",
        output_schema: "response_format",
        effort: "reasoning_effort",
        summary: "reasoning.summary",
        verbosity: "verbosity",
    };

    /// `/v1/completions`, which has the extensions of chats.
    pub(crate) const COMPLETION: Self = Self {
        conversation: "prompt",
        ..Self::CHAT
    };

    /// `/v1/responses`.
    pub(crate) const RESPONSE: Self = Self {
        conversation: "input",
        output_schema: "text.format",
        effort: "reasoning.effort",
        summary: "reasoning.summary",
        verbosity: "text.verbosity",
    };

    /// Returns the client's name of a part of the request.
    pub(super) fn name(&self, field: RequestField) -> &'static str {
        match field {
            RequestField::Conversation => self.conversation,
            RequestField::Tools => "tools",
            RequestField::OutputSchema => self.output_schema,
            RequestField::Effort => self.effort,
            RequestField::Summary => self.summary,
            RequestField::Verbosity => self.verbosity,
            RequestField::ServiceTier => "service_tier",
            RequestField::Model => "model",
        }
    }
}
