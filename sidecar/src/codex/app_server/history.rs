//! The conversation as the items that `thread/inject_items` takes.
//! OpenAI API reference, "Responses", input items; what Codex 0.169 does to each of them was seen by experiment.

use std::borrow::Cow;

use serde::Serialize;

use super::names;

use crate::turn::{Content, Detail, Item, Message, Role, Tools, TurnRequest};

/// An item of the Responses API, as the thread's history wants it.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum HistoryItem<'a> {
    Message {
        role: &'static str,
        content: Vec<Part<'a>>,
    },
    FunctionCall {
        call_id: &'a str,
        name: Cow<'a, str>,
        arguments: &'a str,
    },
    FunctionCallOutput {
        call_id: &'a str,
        output: Output<'a>,
    },
    Reasoning {
        summary: Vec<SummaryPart<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        encrypted_content: Option<&'a str>,
    },
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Part<'a> {
    InputText {
        text: &'a str,
    },
    OutputText {
        text: &'a str,
    },
    InputImage {
        image_url: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<Detail>,
    },
}

/// What a tool returned: a text is sent as one, which is what models were taught on.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Output<'a> {
    Text(&'a str),
    Parts(Vec<Part<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum SummaryPart<'a> {
    SummaryText { text: &'a str },
}

/// The conversation as history, and what Codex has no field for: it asks the model for `tool_choice: "auto"` always,
/// so that a required call is asked for in words.
pub(super) fn history(request: &TurnRequest) -> Vec<HistoryItem<'_>> {
    let items = request.conversation.iter().map(history_item);
    items.chain(call_instruction(&request.tools)).collect()
}

fn call_instruction(tools: &Tools) -> Option<HistoryItem<'_>> {
    let text = "Answer by calling one of your functions, not with text alone.";
    tools.required.then(|| HistoryItem::Message {
        role: "developer",
        content: vec![Part::InputText { text }],
    })
}

fn history_item(item: &Item) -> HistoryItem<'_> {
    match item {
        Item::Message(message) => history_message(message),
        Item::ToolCall(call) => HistoryItem::FunctionCall {
            call_id: &call.call_id,
            name: names::to_codex(&call.name),
            arguments: &call.arguments,
        },
        Item::ToolOutput(output) => HistoryItem::FunctionCallOutput {
            call_id: &output.call_id,
            output: match output.content.as_slice() {
                [Content::Text(text)] => Output::Text(text),
                parts => Output::Parts(parts.iter().map(|part| input(part)).collect()),
            },
        },
        Item::Reasoning(item) => HistoryItem::Reasoning {
            summary: item
                .summary
                .iter()
                .map(|text| SummaryPart::SummaryText { text })
                .collect(),
            encrypted_content: item.encrypted_content.as_deref(),
        },
    }
}

/// `system` would vanish without an error, so that role is `developer`.
fn history_message(message: &Message) -> HistoryItem<'_> {
    HistoryItem::Message {
        role: match message.role {
            Role::Developer => "developer",
            Role::User => "user",
            Role::Assistant => "assistant",
        },
        content: match message.role {
            Role::Assistant => message.content.iter().map(output).collect(),
            Role::Developer | Role::User => message.content.iter().map(input).collect(),
        },
    }
}

fn input(content: &Content) -> Part<'_> {
    match content {
        Content::Text(text) => Part::InputText { text },
        Content::Image(image) => Part::InputImage {
            image_url: &image.url,
            detail: image.detail,
        },
    }
}

fn output(content: &Content) -> Part<'_> {
    match content {
        Content::Text(text) => Part::OutputText { text },
        Content::Image(_) => input(content),
    }
}
