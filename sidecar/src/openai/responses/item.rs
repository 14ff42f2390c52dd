//! Items in wire format, for the output of a response and the list of its input; and their ids.
//! OpenAI API reference, "The response object", `output`, and "List input items".

use serde::Serialize;

use crate::openai::response::id::{ID_CHARACTERS, fresh_id};
use crate::turn::{Content, Detail, Item, Message, Phase, Role, ToolCall, ToolKind, ToolOutput};

/// Prefix of the ids of responses.
const PREFIX: &str = "resp_";

/// The id of a response. The ids of its items contain the random part, so that an item id leads to the response.
#[derive(Debug, Clone)]
pub(super) struct ResponseId(String);

impl ResponseId {
    /// Returns a new random id.
    pub(super) fn fresh() -> Self {
        Self(fresh_id(PREFIX))
    }

    /// Returns the id that a client sent.
    pub(super) fn of(id: &str) -> Self {
        Self(id.to_owned())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the id of an item; `number` counts the items of the request, then the items of the output.
    pub(super) fn item(&self, kind: &str, number: usize) -> String {
        let random = self.0.strip_prefix(PREFIX).unwrap_or(&self.0);
        // `parse_item_id` splits at the fixed length of the random part.
        format!("{kind}_{random}{number:04x}")
    }
}

/// Returns the id of the response that an item belongs to and the number of the item there, or `None` for an id of
/// another form.
pub(super) fn parse_item_id(item_id: &str) -> Option<(String, usize)> {
    let (_kind, rest) = item_id.split_once('_')?;
    let (random, number) = rest.split_at_checked(ID_CHARACTERS)?;
    let number = usize::from_str_radix(number, 16).ok()?;
    Some((format!("{PREFIX}{random}"), number))
}

/// The progress of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ItemStatus {
    InProgress,
    Completed,
    Incomplete,
}

/// An item in wire format.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ItemBody {
    Message {
        id: String,
        status: ItemStatus,
        role: &'static str,
        content: Vec<PartBody>,
        #[serde(skip_serializing_if = "Option::is_none")]
        phase: Option<Phase>,
    },
    FunctionCall {
        id: String,
        call_id: String,
        name: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace: Option<String>,
        arguments: String,
        status: ItemStatus,
    },
    CustomToolCall {
        id: String,
        call_id: String,
        name: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace: Option<String>,
        input: String,
        status: ItemStatus,
    },
    FunctionCallOutput {
        id: String,
        call_id: String,
        output: OutputBody,
        status: ItemStatus,
    },
    Reasoning {
        id: String,
        summary: Vec<PartBody>,
        #[serde(skip_serializing_if = "Option::is_none")]
        encrypted_content: Option<String>,
        status: ItemStatus,
    },
}

/// A content part of an item in wire format.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum PartBody {
    InputText {
        text: String,
    },
    OutputText {
        text: String,
        annotations: [(); 0],
        logprobs: [(); 0],
    },
    Refusal {
        refusal: String,
    },
    SummaryText {
        text: String,
    },
    InputImage {
        image_url: String,
        detail: Detail,
    },
}

/// The output of a tool.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub(super) enum OutputBody {
    Text(String),
    Parts(Vec<PartBody>),
}

impl PartBody {
    pub(super) fn output_text(text: String) -> Self {
        Self::OutputText {
            text,
            annotations: [],
            logprobs: [],
        }
    }

    fn input(content: &Content) -> Self {
        match content {
            Content::Text(text) => Self::InputText { text: text.clone() },
            Content::Image(image) => Self::InputImage {
                image_url: image.url.clone(),
                detail: image.detail.unwrap_or(Detail::Auto),
            },
        }
    }

    fn output(content: &Content) -> Self {
        match content {
            Content::Text(text) => Self::output_text(text.clone()),
            Content::Image(_) => Self::input(content),
        }
    }
}

impl ItemBody {
    /// Returns the completed item with this number in `response`.
    pub(super) fn completed(item: &Item, response: &ResponseId, number: usize) -> Self {
        let status = ItemStatus::Completed;
        match item {
            Item::Message(Message {
                role,
                content,
                phase,
            }) => Self::Message {
                phase: *phase,
                id: response.item("msg", number),
                status,
                role: role_name(*role),
                content: match role {
                    Role::Assistant => content.iter().map(PartBody::output).collect(),
                    Role::Developer | Role::User => content.iter().map(PartBody::input).collect(),
                },
            },
            Item::ToolCall(call) => {
                Self::call(response.item(call_prefix(call.kind), number), call, status)
            }
            Item::ToolOutput(ToolOutput { call_id, content }) => Self::FunctionCallOutput {
                id: response.item("fco", number),
                call_id: call_id.clone(),
                output: match content.as_slice() {
                    [Content::Text(text)] => OutputBody::Text(text.clone()),
                    parts => OutputBody::Parts(parts.iter().map(PartBody::input).collect()),
                },
                status,
            },
            Item::Reasoning(item) => {
                Self::reasoning(response.item("rs", number), &item.summary, None, status)
            }
        }
    }

    /// Returns a message of the model.
    pub(super) fn assistant_message(
        id: String,
        content: Vec<PartBody>,
        status: ItemStatus,
        phase: Option<Phase>,
    ) -> Self {
        Self::Message {
            phase,
            id,
            status,
            role: role_name(Role::Assistant),
            content,
        }
    }

    pub(super) fn call(id: String, call: &ToolCall, status: ItemStatus) -> Self {
        let ToolCall {
            call_id,
            name,
            namespace,
            kind,
            arguments,
        } = call.clone();
        match kind {
            ToolKind::Function => Self::FunctionCall {
                id,
                call_id,
                name,
                namespace,
                arguments,
                status,
            },
            ToolKind::Custom => Self::CustomToolCall {
                id,
                call_id,
                name,
                namespace,
                input: arguments,
                status,
            },
        }
    }

    pub(super) fn reasoning(
        id: String,
        summary: &[String],
        encrypted_content: Option<String>,
        status: ItemStatus,
    ) -> Self {
        let summary = summary.iter().cloned();
        Self::Reasoning {
            id,
            summary: summary.map(|text| PartBody::SummaryText { text }).collect(),
            encrypted_content,
            status,
        }
    }

    pub(super) fn id(&self) -> &str {
        match self {
            Self::Message { id, .. }
            | Self::FunctionCall { id, .. }
            | Self::CustomToolCall { id, .. }
            | Self::FunctionCallOutput { id, .. }
            | Self::Reasoning { id, .. } => id,
        }
    }
}

/// Returns the prefix of the id of a call.
pub(super) fn call_prefix(kind: ToolKind) -> &'static str {
    match kind {
        ToolKind::Function => "fc",
        ToolKind::Custom => "ctc",
    }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Developer => "developer",
        Role::User => "user",
        Role::Assistant => "assistant",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn item_ids_lead_to_their_response() {
        let response = ResponseId::fresh();
        for number in [0, 7, 70_000] {
            let parsed = parse_item_id(&response.item("msg", number));
            assert_eq!(parsed, Some((response.as_str().to_owned(), number)));
        }
        for foreign in ["", "rs", "msg_1", "msg_0123456789abcdefghijklmn-7"] {
            assert_eq!(parse_item_id(foreign), None, "{foreign}");
        }
    }
}
