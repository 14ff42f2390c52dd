//! The output of a response while the turn runs: items are opened, extended and closed, and each step is an event.
//! OpenAI API reference, "Responses streaming events"; at most one item is open at a time.

use bytes::BytesMut;

use super::event::{ContentPosition, SequencedEvents, StreamEvent, SummaryPosition};
use super::item::{ItemBody, ItemStatus, PartBody, ResponseId, call_prefix};
use crate::turn::{Content, Item, Message, Phase, ReasoningItem, Role, ToolCall, ToolKind};

/// The items of a response so far.
#[derive(Debug)]
pub(super) struct ResponseOutput {
    response: ResponseId,
    /// Whether the client asked for `reasoning.encrypted_content`.
    encrypted_reasoning: bool,
    /// The items of the request, then the items of the output.
    items: Vec<Item>,
    /// The closed items of the output in wire format.
    bodies: Vec<ItemBody>,
    open: OpenItem,
    /// The phase of the current message.
    phase: Option<Phase>,
    /// Characters of text, for the usage estimate.
    chars: usize,
    pub(super) events: SequencedEvents,
}

#[derive(Debug)]
enum OpenItem {
    None,
    Message {
        id: String,
        text: String,
    },
    /// A reasoning item with the parts of its summary.
    Reasoning {
        id: String,
        parts: Vec<String>,
        /// Whether the last part may still grow.
        in_part: bool,
    },
}

impl ResponseOutput {
    /// Returns the empty output of a response to `input`.
    pub(super) fn new(response: ResponseId, input: Vec<Item>, encrypted_reasoning: bool) -> Self {
        Self {
            response,
            encrypted_reasoning,
            items: input,
            bodies: Vec::new(),
            open: OpenItem::None,
            phase: None,
            chars: 0,
            events: SequencedEvents::default(),
        }
    }

    /// Returns the closed items in wire format.
    pub(super) fn bodies(&self) -> &[ItemBody] {
        &self.bodies
    }

    /// Returns the characters of text so far.
    pub(super) fn chars(&self) -> usize {
        self.chars
    }

    /// Moves out the items of the request and of the output.
    pub(super) fn take_items(&mut self) -> Vec<Item> {
        std::mem::take(&mut self.items)
    }

    pub(super) fn on_text(&mut self, delta: &str, out: &mut BytesMut) {
        // No event announces a message; the first delta opens the item.
        if !matches!(self.open, OpenItem::Message { .. }) {
            self.close(ItemStatus::Completed, out);
            self.open_message(&PartBody::output_text(String::new()), out);
        }
        let OpenItem::Message { id, text } = &mut self.open else {
            return;
        };
        text.push_str(delta);
        self.chars += delta.chars().count();
        let event = StreamEvent::TextDelta {
            at: ContentPosition::first(id, self.bodies.len()),
            delta,
            logprobs: [],
        };
        self.events.write(&event, out);
    }

    /// Sets the phase of the message that is open, or that the next text opens.
    pub(super) fn on_phase(&mut self, phase: Phase) {
        self.phase = Some(phase);
    }

    pub(super) fn on_message_end(&mut self, out: &mut BytesMut) {
        self.close(ItemStatus::Completed, out);
        // Also of a message without text, which opens no item.
        self.phase = None;
    }

    pub(super) fn on_reasoning(&mut self, delta: &str, out: &mut BytesMut) {
        self.open_reasoning(out);
        let OpenItem::Reasoning { id, parts, in_part } = &mut self.open else {
            return;
        };
        if !std::mem::replace(in_part, true) {
            let added = StreamEvent::SummaryPartAdded {
                at: SummaryPosition::new(id, self.bodies.len(), parts.len()),
                part: &PartBody::SummaryText {
                    text: String::new(),
                },
            };
            self.events.write(&added, out);
            parts.push(String::new());
        }
        if let Some(part) = parts.last_mut() {
            part.push_str(delta);
        }
        let event = StreamEvent::SummaryDelta {
            at: SummaryPosition::new(id, self.bodies.len(), parts.len().saturating_sub(1)),
            delta,
        };
        self.events.write(&event, out);
    }

    /// Ends the current part of the summary.
    pub(super) fn on_reasoning_part(&mut self, out: &mut BytesMut) {
        let OpenItem::Reasoning { id, parts, in_part } = &mut self.open else {
            return;
        };
        if !std::mem::take(in_part) {
            return;
        }
        let Some(text) = parts.last() else {
            return;
        };
        let at = SummaryPosition::new(id, self.bodies.len(), parts.len() - 1);
        self.events
            .write(&StreamEvent::SummaryDone { at, text }, out);
        let part = &PartBody::SummaryText { text: text.clone() };
        self.events
            .write(&StreamEvent::SummaryPartDone { at, part }, out);
    }

    /// Ends a reasoning item. If no deltas came for its summary, the events for the parts are written here.
    pub(super) fn on_reasoning_item(&mut self, item: &ReasoningItem, out: &mut BytesMut) {
        if !matches!(self.open, OpenItem::Reasoning { .. }) {
            self.open_reasoning(out);
            for part in &item.summary {
                self.on_reasoning(part, out);
                self.on_reasoning_part(out);
            }
        }
        let content = item.encrypted_content.as_ref();
        self.close_reasoning(content, ItemStatus::Completed, out);
    }

    /// Writes a tool call. Codex reports a call at once, so the arguments are one delta.
    pub(super) fn on_call(&mut self, call: &ToolCall, out: &mut BytesMut) {
        self.close(ItemStatus::Completed, out);
        let id = self.response.item(call_prefix(call.kind), self.items.len());
        // OpenAI's SDKs assemble the arguments from the deltas, so the item is added without them.
        let without_arguments = ToolCall {
            arguments: String::new(),
            ..call.clone()
        };
        self.added(
            &ItemBody::call(id.clone(), &without_arguments, ItemStatus::InProgress),
            out,
        );
        let output_index = self.bodies.len();
        let (delta, done) = call_events(&id, output_index, call);
        self.events.write(&delta, out);
        self.events.write(&done, out);
        self.items.push(Item::ToolCall(call.clone()));
        self.done(ItemBody::call(id, call, ItemStatus::Completed), out);
    }

    /// Writes a message with a refusal instead of text. Not added to the items: later turns omit the refusal.
    pub(super) fn on_refusal(&mut self, text: &'static str, out: &mut BytesMut) {
        let refusal = |text: &str| PartBody::Refusal {
            refusal: text.to_owned(),
        };
        self.open_message(&refusal(""), out);
        let OpenItem::Message { id, .. } = std::mem::replace(&mut self.open, OpenItem::None) else {
            return;
        };
        let at = ContentPosition::first(&id, self.bodies.len());
        self.events
            .write(&StreamEvent::RefusalDelta { at, delta: text }, out);
        let done = StreamEvent::RefusalDone { at, refusal: text };
        self.events.write(&done, out);
        self.message_done(id, refusal(text), ItemStatus::Completed, out);
    }

    /// Writes an empty message, if the output has neither a message nor a call: clients read the text of the last
    /// message. Not added to the items: an empty message would be an empty turn of the model.
    pub(super) fn on_empty_answer(&mut self, out: &mut BytesMut) {
        let is_reasoning = |item: &ItemBody| matches!(item, ItemBody::Reasoning { .. });
        if !self.bodies.iter().all(is_reasoning) {
            return;
        }
        let text = || PartBody::output_text(String::new());
        self.open_message(&text(), out);
        let OpenItem::Message { id, text: empty } =
            std::mem::replace(&mut self.open, OpenItem::None)
        else {
            return;
        };
        let done = StreamEvent::TextDone {
            at: ContentPosition::first(&id, self.bodies.len()),
            text: &empty,
            logprobs: [],
        };
        self.events.write(&done, out);
        self.message_done(id, text(), ItemStatus::Completed, out);
    }

    /// Closes the open item, if any.
    pub(super) fn close(&mut self, status: ItemStatus, out: &mut BytesMut) {
        self.close_reasoning(None, status, out);
        let OpenItem::Message { id, text } = std::mem::replace(&mut self.open, OpenItem::None)
        else {
            return;
        };
        let done = StreamEvent::TextDone {
            at: ContentPosition::first(&id, self.bodies.len()),
            text: &text,
            logprobs: [],
        };
        self.events.write(&done, out);
        self.items.push(Item::Message(Message {
            role: Role::Assistant,
            content: vec![Content::Text(text.clone())],
            phase: self.phase,
        }));
        self.message_done(id, PartBody::output_text(text), status, out);
    }

    fn open_message(&mut self, part: &PartBody, out: &mut BytesMut) {
        let id = self.response.item("msg", self.items.len());
        let body =
            ItemBody::assistant_message(id.clone(), Vec::new(), ItemStatus::InProgress, self.phase);
        self.added(&body, out);
        let at = ContentPosition::first(&id, self.bodies.len());
        self.events.write(&StreamEvent::PartAdded { at, part }, out);
        self.open = OpenItem::Message {
            id,
            text: String::new(),
        };
    }

    fn message_done(&mut self, id: String, part: PartBody, status: ItemStatus, out: &mut BytesMut) {
        let at = ContentPosition::first(&id, self.bodies.len());
        let event = StreamEvent::PartDone { at, part: &part };
        self.events.write(&event, out);
        let phase = self.phase.take();
        let body = ItemBody::assistant_message(id, vec![part], status, phase);
        self.done(body, out);
    }

    fn open_reasoning(&mut self, out: &mut BytesMut) {
        if matches!(self.open, OpenItem::Reasoning { .. }) {
            return;
        }
        self.close(ItemStatus::Completed, out);
        let id = self.response.item("rs", self.items.len());
        let body = ItemBody::reasoning(id.clone(), &[], None, ItemStatus::InProgress);
        self.added(&body, out);
        self.open = OpenItem::Reasoning {
            id,
            parts: Vec::new(),
            in_part: false,
        };
    }

    fn close_reasoning(
        &mut self,
        encrypted_content: Option<&String>,
        status: ItemStatus,
        out: &mut BytesMut,
    ) {
        self.on_reasoning_part(out);
        if !matches!(self.open, OpenItem::Reasoning { .. }) {
            return;
        }
        let OpenItem::Reasoning { id, parts, .. } =
            std::mem::replace(&mut self.open, OpenItem::None)
        else {
            return;
        };
        // The item keeps the encrypted content for later turns even if the client does not receive it.
        let shown = encrypted_content.filter(|_| self.encrypted_reasoning);
        let body = ItemBody::reasoning(id, &parts, shown.cloned(), status);
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

/// Returns the delta with the arguments of a call, and the end of the arguments.
fn call_events<'a>(
    item_id: &'a str,
    output_index: usize,
    call: &'a ToolCall,
) -> (StreamEvent<'a>, StreamEvent<'a>) {
    let text = &call.arguments;
    match call.kind {
        ToolKind::Function => (
            StreamEvent::ArgumentsDelta {
                item_id,
                output_index,
                delta: text,
            },
            StreamEvent::ArgumentsDone {
                item_id,
                output_index,
                name: &call.name,
                arguments: text,
            },
        ),
        ToolKind::Custom => (
            StreamEvent::CustomInputDelta {
                item_id,
                output_index,
                delta: text,
            },
            StreamEvent::CustomInputDone {
                item_id,
                output_index,
                input: text,
            },
        ),
    }
}
