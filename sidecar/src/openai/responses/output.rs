//! The output of a response as it grows: items are opened, filled and closed, and each step is an event.
//! OpenAI API reference, "Responses streaming events"; no two items are open at a time.

use bytes::BytesMut;

use super::event::{Content, Numbered, StreamEvent, Summary};
use super::item::{ItemBody, ItemStatus, PartBody, ResponseId};
use crate::turn::{self, Item, Message, ReasoningItem, Role, ToolCall};

/// The items of a response so far.
#[derive(Debug)]
pub(super) struct Output {
    response: ResponseId,
    /// Whether the client reads the thoughts that only the provider understands.
    encrypted_reasoning: bool,
    /// Those of the request, then those of the answer.
    items: Vec<Item>,
    bodies: Vec<ItemBody>,
    open: Open,
    chars: usize,
    pub(super) events: Numbered,
}

#[derive(Debug)]
enum Open {
    Nothing,
    Message {
        id: String,
        text: String,
    },
    /// A summary; its last part may be over.
    Thought {
        id: String,
        parts: Vec<String>,
        in_part: bool,
    },
}

impl Output {
    /// Of an answer to `input`.
    pub(super) fn new(response: ResponseId, input: Vec<Item>, encrypted_reasoning: bool) -> Self {
        Self {
            response,
            encrypted_reasoning,
            items: input,
            bodies: Vec::new(),
            open: Open::Nothing,
            chars: 0,
            events: Numbered::default(),
        }
    }

    /// The items as the client reads them.
    pub(super) fn bodies(&self) -> &[ItemBody] {
        &self.bodies
    }

    /// Characters of text.
    pub(super) fn chars(&self) -> usize {
        self.chars
    }

    /// Takes out the items of the request and of the answer.
    pub(super) fn take_items(&mut self) -> Vec<Item> {
        std::mem::take(&mut self.items)
    }

    pub(super) fn on_text(&mut self, piece: &str, out: &mut BytesMut) {
        if !matches!(self.open, Open::Message { .. }) {
            self.close(ItemStatus::Completed, out);
            self.open_message(&PartBody::output_text(String::new()), out);
        }
        let Open::Message { id, text } = &mut self.open else {
            return;
        };
        text.push_str(piece);
        self.chars += piece.chars().count();
        let delta = StreamEvent::TextDelta {
            at: Content::first(id, self.bodies.len()),
            delta: piece,
            logprobs: [],
        };
        self.events.write(&delta, out);
    }

    pub(super) fn on_reasoning(&mut self, piece: &str, out: &mut BytesMut) {
        self.open_thought(out);
        let Open::Thought { id, parts, in_part } = &mut self.open else {
            return;
        };
        if !std::mem::replace(in_part, true) {
            let added = StreamEvent::SummaryPartAdded {
                at: Summary::new(id, self.bodies.len(), parts.len()),
                part: &PartBody::SummaryText {
                    text: String::new(),
                },
            };
            self.events.write(&added, out);
            parts.push(String::new());
        }
        if let Some(part) = parts.last_mut() {
            part.push_str(piece);
        }
        let delta = StreamEvent::SummaryDelta {
            at: Summary::new(id, self.bodies.len(), parts.len().saturating_sub(1)),
            delta: piece,
        };
        self.events.write(&delta, out);
    }

    /// The part of the summary that has come is whole.
    pub(super) fn on_reasoning_part(&mut self, out: &mut BytesMut) {
        let Open::Thought { id, parts, in_part } = &mut self.open else {
            return;
        };
        if !std::mem::take(in_part) {
            return;
        }
        let Some(text) = parts.last() else {
            return;
        };
        let at = Summary::new(id, self.bodies.len(), parts.len() - 1);
        self.events
            .write(&StreamEvent::SummaryDone { at, text }, out);
        let part = &PartBody::SummaryText { text: text.clone() };
        self.events
            .write(&StreamEvent::SummaryPartDone { at, part }, out);
    }

    /// The thought is whole. Its summary may not have come in pieces.
    pub(super) fn on_reasoned(&mut self, item: &ReasoningItem, out: &mut BytesMut) {
        if !matches!(self.open, Open::Thought { .. }) {
            self.open_thought(out);
            for part in &item.summary {
                self.on_reasoning(part, out);
                self.on_reasoning_part(out);
            }
        }
        self.close_thought(item.encrypted_content.as_ref(), out);
    }

    /// A call comes whole: its arguments are one delta.
    pub(super) fn on_call(&mut self, call: &ToolCall, out: &mut BytesMut) {
        self.close(ItemStatus::Completed, out);
        let id = self.response.item("fc", self.items.len());
        let begun = ToolCall {
            arguments: String::new(),
            ..call.clone()
        };
        self.added(
            &ItemBody::call(id.clone(), &begun, ItemStatus::InProgress),
            out,
        );
        let output_index = self.bodies.len();
        let delta = StreamEvent::ArgumentsDelta {
            item_id: &id,
            output_index,
            delta: &call.arguments,
        };
        self.events.write(&delta, out);
        let done = StreamEvent::ArgumentsDone {
            item_id: &id,
            output_index,
            name: &call.name,
            arguments: &call.arguments,
        };
        self.events.write(&done, out);
        self.items.push(Item::ToolCall(call.clone()));
        self.done(ItemBody::call(id, call, ItemStatus::Completed), out);
    }

    /// What stands in the place of an answer that is none; the conversation goes on without it.
    pub(super) fn refuse(&mut self, text: &'static str, out: &mut BytesMut) {
        let refusal = |text: &str| PartBody::Refusal {
            refusal: text.to_owned(),
        };
        self.open_message(&refusal(""), out);
        let Open::Message { id, .. } = std::mem::replace(&mut self.open, Open::Nothing) else {
            return;
        };
        let at = Content::first(&id, self.bodies.len());
        self.events
            .write(&StreamEvent::RefusalDelta { at, delta: text }, out);
        let done = StreamEvent::RefusalDone { at, refusal: text };
        self.events.write(&done, out);
        self.message_done(id, refusal(text), ItemStatus::Completed, out);
    }

    /// Closes what is open. Only a message can be left half said.
    pub(super) fn close(&mut self, status: ItemStatus, out: &mut BytesMut) {
        self.close_thought(None, out);
        let Open::Message { id, text } = std::mem::replace(&mut self.open, Open::Nothing) else {
            return;
        };
        let done = StreamEvent::TextDone {
            at: Content::first(&id, self.bodies.len()),
            text: &text,
            logprobs: [],
        };
        self.events.write(&done, out);
        self.items.push(Item::Message(Message {
            role: Role::Assistant,
            content: vec![turn::Content::Text(text.clone())],
        }));
        self.message_done(id, PartBody::output_text(text), status, out);
    }

    fn open_message(&mut self, part: &PartBody, out: &mut BytesMut) {
        let id = self.response.item("msg", self.items.len());
        let body = ItemBody::said(id.clone(), Vec::new(), ItemStatus::InProgress);
        self.added(&body, out);
        let at = Content::first(&id, self.bodies.len());
        self.events.write(&StreamEvent::PartAdded { at, part }, out);
        self.open = Open::Message {
            id,
            text: String::new(),
        };
    }

    fn message_done(&mut self, id: String, part: PartBody, status: ItemStatus, out: &mut BytesMut) {
        let at = Content::first(&id, self.bodies.len());
        let event = StreamEvent::PartDone { at, part: &part };
        self.events.write(&event, out);
        self.done(ItemBody::said(id, vec![part], status), out);
    }

    fn open_thought(&mut self, out: &mut BytesMut) {
        if matches!(self.open, Open::Thought { .. }) {
            return;
        }
        self.close(ItemStatus::Completed, out);
        let id = self.response.item("rs", self.items.len());
        self.added(&ItemBody::reasoning(id.clone(), &[], None), out);
        self.open = Open::Thought {
            id,
            parts: Vec::new(),
            in_part: false,
        };
    }

    fn close_thought(&mut self, encrypted_content: Option<&String>, out: &mut BytesMut) {
        self.on_reasoning_part(out);
        if !matches!(self.open, Open::Thought { .. }) {
            return;
        }
        let Open::Thought { id, parts, .. } = std::mem::replace(&mut self.open, Open::Nothing)
        else {
            return;
        };
        let shown = encrypted_content.filter(|_| self.encrypted_reasoning);
        let body = ItemBody::reasoning(id, &parts, shown.cloned());
        self.items.push(Item::Reasoning(ReasoningItem {
            summary: parts,
            encrypted_content: encrypted_content.cloned(),
        }));
        self.done(body, out);
    }

    fn added(&mut self, item: &ItemBody, out: &mut BytesMut) {
        let output_index = self.bodies.len();
        self.events
            .write(&StreamEvent::ItemAdded { output_index, item }, out);
    }

    fn done(&mut self, item: ItemBody, out: &mut BytesMut) {
        let event = StreamEvent::ItemDone {
            output_index: self.bodies.len(),
            item: &item,
        };
        self.events.write(&event, out);
        self.bodies.push(item);
    }
}
