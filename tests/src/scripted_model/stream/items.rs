//! Output items and their texts: the shapes of their events, without clock, pace or socket.
//! The source is OpenAI's Responses API, streaming events.

use serde_json::{Value, json};

use crate::scripted_model::script::{CallStep, CustomCallStep, MessagePhase, ReasoningStep};

/// An output item in progress.
#[derive(Debug)]
pub(crate) struct OutputItem {
    output_index: usize,
    id: String,
    value: Value,
}

/// A text of an item in progress.
#[derive(Debug)]
pub(crate) struct TextPart {
    kind: &'static TextKind,
    item_id: String,
    output_index: usize,
    /// Position in the list that holds the text.
    index: usize,
    text: String,
}

/// A kind of text: the names of its events and fields.
#[derive(Debug)]
pub(crate) struct TextKind {
    /// Prefix of the event names: `{event_prefix}.delta` and `{event_prefix}.done`.
    event_prefix: &'static str,
    /// The field of the `done` event, and of the part, that holds the whole text.
    field: &'static str,
    /// The field of the item that receives the text.
    item_field: &'static str,
    /// Names for texts that are parts of a list; `None` for a text that is the whole field.
    listed: Option<ListedPart>,
}

#[derive(Debug)]
struct ListedPart {
    event_prefix: &'static str,
    kind: &'static str,
    index: &'static str,
}

pub(crate) const OUTPUT_TEXT: TextKind = TextKind {
    event_prefix: "response.output_text",
    field: "text",
    item_field: "content",
    listed: Some(ListedPart {
        event_prefix: "response.content_part",
        kind: "output_text",
        index: "content_index",
    }),
};

pub(crate) const REFUSAL: TextKind = TextKind {
    event_prefix: "response.refusal",
    field: "refusal",
    item_field: "content",
    listed: Some(ListedPart {
        event_prefix: "response.content_part",
        kind: "refusal",
        index: "content_index",
    }),
};

pub(crate) const REASONING_SUMMARY: TextKind = TextKind {
    event_prefix: "response.reasoning_summary_text",
    field: "text",
    item_field: "summary",
    listed: Some(ListedPart {
        event_prefix: "response.reasoning_summary_part",
        kind: "summary_text",
        index: "summary_index",
    }),
};

pub(crate) const REASONING_TEXT: TextKind = TextKind {
    event_prefix: "response.reasoning_text",
    field: "text",
    item_field: "content",
    listed: Some(ListedPart {
        event_prefix: "response.content_part",
        kind: "reasoning_text",
        index: "content_index",
    }),
};

pub(crate) const ARGUMENTS: TextKind = TextKind {
    event_prefix: "response.function_call_arguments",
    field: "arguments",
    item_field: "arguments",
    listed: None,
};

pub(crate) const CUSTOM_INPUT: TextKind = TextKind {
    event_prefix: "response.custom_tool_call_input",
    field: "input",
    item_field: "input",
    listed: None,
};

type ItemPosition = (usize, String);

impl OutputItem {
    pub(crate) fn message(position: ItemPosition, phase: Option<MessagePhase>) -> Self {
        let mut value = json!({"type": "message", "role": "assistant", "content": []});
        if let Some(phase) = phase {
            value["phase"] = json!(phase);
        }
        Self::new(position, value)
    }

    pub(crate) fn reasoning(position: ItemPosition, reasoning: &ReasoningStep) -> Self {
        let mut value = json!({"type": "reasoning", "summary": []});
        if reasoning.raw.is_some() {
            value["content"] = json!([]);
        }
        if let Some(encrypted) = &reasoning.encrypted_content {
            value["encrypted_content"] = encrypted.as_str().into();
        }
        Self::new(position, value)
    }

    pub(crate) fn function_call(position: ItemPosition, call: &CallStep) -> Self {
        let call_id = call_id(call.call_id.as_deref(), &position);
        let mut value = json!({
            "type": "function_call",
            "call_id": call_id,
            "name": call.name,
            "arguments": "",
        });
        if let Some(namespace) = &call.namespace {
            value["namespace"] = namespace.as_str().into();
        }
        Self::new(position, value)
    }

    pub(crate) fn custom_call(position: ItemPosition, call: &CustomCallStep) -> Self {
        let call_id = call_id(call.call_id.as_deref(), &position);
        let value = json!({
            "type": "custom_tool_call",
            "call_id": call_id,
            "name": call.name,
            "input": "",
        });
        Self::new(position, value)
    }

    fn new((output_index, id): ItemPosition, mut value: Value) -> Self {
        value["id"] = id.as_str().into();
        value["status"] = "in_progress".into();
        Self {
            output_index,
            id,
            value,
        }
    }

    /// The `response.output_item.added` event.
    pub(crate) fn added(&self) -> Value {
        json!({
            "type": "response.output_item.added",
            "output_index": self.output_index,
            "item": self.value,
        })
    }

    /// Begins a text of the item.
    pub(crate) fn part(&self, kind: &'static TextKind) -> TextPart {
        TextPart {
            kind,
            item_id: self.id.clone(),
            output_index: self.output_index,
            index: self.value[kind.item_field].as_array().map_or(0, Vec::len),
            text: String::new(),
        }
    }

    /// Adds a finished text to the item and returns the closing events of the text.
    pub(crate) fn finish(&mut self, part: TextPart) -> Vec<Value> {
        let events = part.closing();
        match (&mut self.value[part.kind.item_field], part.value()) {
            (Value::Array(list), Some(value)) => list.push(value),
            (item_field, _) => *item_field = part.text.into(),
        }
        events
    }

    /// The `response.output_item.done` event, and the completed item.
    pub(crate) fn done(mut self) -> (Value, Value) {
        self.value["status"] = "completed".into();
        let event = json!({
            "type": "response.output_item.done",
            "output_index": self.output_index,
            "item": self.value,
        });
        (event, self.value)
    }
}

impl TextPart {
    /// The event that opens the part, for texts in a list.
    pub(crate) fn opening(&self) -> Option<Value> {
        let listed = self.kind.listed.as_ref()?;
        let mut event = self.event(listed.event_prefix, "added");
        event["part"] = self.value()?;
        Some(event)
    }

    /// Appends `text` without an event.
    pub(crate) fn append(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Appends `delta` to the text and returns its event.
    pub(crate) fn delta(&mut self, delta: &str) -> Value {
        self.append(delta);
        let mut event = self.event(self.kind.event_prefix, "delta");
        event["delta"] = delta.into();
        event
    }

    fn closing(&self) -> Vec<Value> {
        let mut done = self.event(self.kind.event_prefix, "done");
        done[self.kind.field] = self.text.as_str().into();
        let mut events = vec![done];
        if let (Some(listed), Some(part)) = (&self.kind.listed, self.value()) {
            let mut done = self.event(listed.event_prefix, "done");
            done["part"] = part;
            events.push(done);
        }
        events
    }

    /// The part as an element of the item's list.
    fn value(&self) -> Option<Value> {
        let listed = self.kind.listed.as_ref()?;
        let mut part = json!({"type": listed.kind});
        part[self.kind.field] = self.text.as_str().into();
        if listed.kind == "output_text" {
            part["annotations"] = json!([]);
        }
        Some(part)
    }

    fn event(&self, event_prefix: &str, suffix: &str) -> Value {
        let mut event = json!({
            "type": format!("{event_prefix}.{suffix}"),
            "item_id": self.item_id,
            "output_index": self.output_index,
        });
        if let Some(listed) = &self.kind.listed {
            event[listed.index] = self.index.into();
        }
        event
    }
}

fn call_id(chosen: Option<&str>, (_, item_id): &ItemPosition) -> String {
    chosen.map_or_else(|| format!("call_{item_id}"), str::to_owned)
}
