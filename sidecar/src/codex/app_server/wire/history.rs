//! The conversation as the items of `thread/inject_items`.
//! The shapes are the input items of OpenAI's Responses API; how Codex 0.169 treats each of them is known by
//! experiment.

use std::borrow::Cow;

use serde::Serialize;

use super::{custom, names};
use crate::turn::{Content, Detail, Item, Message, Phase, Role, ToolKind, Tools, TurnRequest};

/// An item of the Responses API in the history of a thread.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum HistoryItem<'a> {
    Message {
        role: &'static str,
        content: Vec<HistoryPart<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        phase: Option<Phase>,
    },
    FunctionCall {
        call_id: &'a str,
        name: Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace: Option<String>,
        arguments: Cow<'a, str>,
    },
    FunctionCallOutput {
        call_id: &'a str,
        output: HistoryOutput<'a>,
    },
    Reasoning {
        summary: Vec<HistorySummary<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        encrypted_content: Option<&'a str>,
    },
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum HistoryPart<'a> {
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

/// The output of a tool call. A single text is sent as a plain string, the form that models are trained on.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum HistoryOutput<'a> {
    Text(&'a str),
    Parts(Vec<HistoryPart<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum HistorySummary<'a> {
    SummaryText { text: &'a str },
}

/// Returns the conversation as history items, without the first `known` of them.
///
/// Codex always sends `tool_choice: "auto"`, and has no field for another choice, so a required tool call is requested
/// by a developer message at the end.
pub(crate) fn history(request: &TurnRequest, known: usize) -> Vec<HistoryItem<'_>> {
    let new = request.conversation.iter().skip(known);
    let items = new.map(history_item);
    items.chain(call_instruction(&request.tools)).collect()
}

fn call_instruction(tools: &Tools) -> Option<HistoryItem<'_>> {
    let text = "Answer by calling one of your functions, not with text alone.";
    tools.required.then(|| HistoryItem::Message {
        role: "developer",
        content: vec![HistoryPart::InputText { text }],
        phase: None,
    })
}

fn history_item(item: &Item) -> HistoryItem<'_> {
    match item {
        Item::Message(message) => history_message(message),
        Item::ToolCall(call) => HistoryItem::FunctionCall {
            call_id: &call.call_id,
            name: names::to_codex(&call.name),
            namespace: names::namespace_to_codex(call.namespace.as_deref()),
            arguments: match call.kind {
                ToolKind::Function => call.arguments.as_str().into(),
                ToolKind::Custom => custom::write_arguments(&call.arguments).into(),
            },
        },
        Item::ToolOutput(output) => HistoryItem::FunctionCallOutput {
            call_id: &output.call_id,
            output: match output.content.as_slice() {
                [Content::Text(text)] => HistoryOutput::Text(text),
                parts => HistoryOutput::Parts(parts.iter().map(|part| input(part)).collect()),
            },
        },
        Item::Reasoning(item) => HistoryItem::Reasoning {
            summary: item
                .summary
                .iter()
                .map(|text| HistorySummary::SummaryText { text })
                .collect(),
            encrypted_content: item.encrypted_content.as_deref(),
        },
    }
}

fn history_message(message: &Message) -> HistoryItem<'_> {
    HistoryItem::Message {
        role: match message.role {
            // Not `system`: Codex drops items of that role without an error.
            Role::Developer => "developer",
            Role::User => "user",
            Role::Assistant => "assistant",
        },
        content: match message.role {
            Role::Assistant => message.content.iter().map(output).collect(),
            Role::Developer | Role::User => message.content.iter().map(input).collect(),
        },
        phase: message.phase,
    }
}

fn input(content: &Content) -> HistoryPart<'_> {
    match content {
        Content::Text(text) => HistoryPart::InputText { text },
        Content::Image(image) => HistoryPart::InputImage {
            image_url: &image.url,
            detail: image.detail,
        },
    }
}

fn output(content: &Content) -> HistoryPart<'_> {
    match content {
        Content::Text(text) => HistoryPart::OutputText { text },
        Content::Image(_) => input(content),
    }
}
