//! The items of a response and the texts in them: a catalogue of event shapes, without clock, pace or socket.
//! The source is OpenAI's Responses API, streaming events.

use serde_json::{Value, json};

use crate::scripted_model::script::{Call, CustomCall, Phase, Reasoning};

/// An item of the output while it is being said.
#[derive(Debug)]
pub(crate) struct Item {
    output_index: usize,
    id: String,
    value: Value,
}

/// A text in an item while it is being said.
#[derive(Debug)]
pub(crate) struct Part {
    kind: &'static PartKind,
    item_id: String,
    output_index: usize,
    /// Position among the texts of the same home.
    index: usize,
    text: String,
}

/// How a kind of text looks in the stream.
#[derive(Debug)]
pub(crate) struct PartKind {
    /// Events are `{stem}.delta` and `{stem}.done`.
    stem: &'static str,
    /// The member of `done`, and of the part, that holds the whole text.
    member: &'static str,
    /// The member of the item that the text ends up in.
    home: &'static str,
    /// Where texts are parts of a list: the list's events, the part's type, the name of its index.
    listed: Option<Listed>,
}

#[derive(Debug)]
struct Listed {
    stem: &'static str,
    kind: &'static str,
    index: &'static str,
}

pub(crate) const OUTPUT_TEXT: PartKind = PartKind {
    stem: "response.output_text",
    member: "text",
    home: "content",
    listed: Some(Listed {
        stem: "response.content_part",
        kind: "output_text",
        index: "content_index",
    }),
};

pub(crate) const REFUSAL: PartKind = PartKind {
    stem: "response.refusal",
    member: "refusal",
    home: "content",
    listed: Some(Listed {
        stem: "response.content_part",
        kind: "refusal",
        index: "content_index",
    }),
};

pub(crate) const REASONING_SUMMARY: PartKind = PartKind {
    stem: "response.reasoning_summary_text",
    member: "text",
    home: "summary",
    listed: Some(Listed {
        stem: "response.reasoning_summary_part",
        kind: "summary_text",
        index: "summary_index",
    }),
};

pub(crate) const REASONING_TEXT: PartKind = PartKind {
    stem: "response.reasoning_text",
    member: "text",
    home: "content",
    listed: Some(Listed {
        stem: "response.content_part",
        kind: "reasoning_text",
        index: "content_index",
    }),
};

pub(crate) const ARGUMENTS: PartKind = PartKind {
    stem: "response.function_call_arguments",
    member: "arguments",
    home: "arguments",
    listed: None,
};

pub(crate) const CUSTOM_INPUT: PartKind = PartKind {
    stem: "response.custom_tool_call_input",
    member: "input",
    home: "input",
    listed: None,
};

type Place = (usize, String);

impl Item {
    pub(crate) fn message(place: Place, phase: Option<Phase>) -> Self {
        let mut value = json!({"type": "message", "role": "assistant", "content": []});
        if let Some(phase) = phase {
            value["phase"] = json!(phase);
        }
        Self::new(place, value)
    }

    pub(crate) fn reasoning(place: Place, reasoning: &Reasoning) -> Self {
        let mut value = json!({"type": "reasoning", "summary": []});
        if reasoning.raw.is_some() {
            value["content"] = json!([]);
        }
        if let Some(encrypted) = &reasoning.encrypted_content {
            value["encrypted_content"] = encrypted.as_str().into();
        }
        Self::new(place, value)
    }

    pub(crate) fn function_call(place: Place, call: &Call) -> Self {
        let call_id = call_id(call.call_id.as_deref(), &place);
        let mut value = json!({
            "type": "function_call",
            "call_id": call_id,
            "name": call.name,
            "arguments": "",
        });
        if let Some(namespace) = &call.namespace {
            value["namespace"] = namespace.as_str().into();
        }
        Self::new(place, value)
    }

    pub(crate) fn custom_call(place: Place, call: &CustomCall) -> Self {
        let call_id = call_id(call.call_id.as_deref(), &place);
        let value = json!({
            "type": "custom_tool_call",
            "call_id": call_id,
            "name": call.name,
            "input": "",
        });
        Self::new(place, value)
    }

    fn new((output_index, id): Place, mut value: Value) -> Self {
        value["id"] = id.as_str().into();
        value["status"] = "in_progress".into();
        Self {
            output_index,
            id,
            value,
        }
    }

    /// The event that opens the item.
    pub(crate) fn added(&self) -> Value {
        json!({
            "type": "response.output_item.added",
            "output_index": self.output_index,
            "item": self.value,
        })
    }

    /// Begins a text of the item.
    pub(crate) fn part(&self, kind: &'static PartKind) -> Part {
        Part {
            kind,
            item_id: self.id.clone(),
            output_index: self.output_index,
            index: self.value[kind.home].as_array().map_or(0, Vec::len),
            text: String::new(),
        }
    }

    /// Takes in a finished text and returns the events that say so.
    pub(crate) fn finish(&mut self, part: Part) -> Vec<Value> {
        let events = part.closing();
        match (&mut self.value[part.kind.home], part.value()) {
            (Value::Array(list), Some(value)) => list.push(value),
            (home, _) => *home = part.text.into(),
        }
        events
    }

    /// The event that closes the item, and the item.
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

impl Part {
    /// The event that opens the part, where there is one.
    pub(crate) fn opening(&self) -> Option<Value> {
        let listed = self.kind.listed.as_ref()?;
        let mut event = self.event(listed.stem, "added");
        event["part"] = self.value()?;
        Some(event)
    }

    /// Says a piece of the text.
    pub(crate) fn delta(&mut self, piece: &str) -> Value {
        self.text.push_str(piece);
        let mut event = self.event(self.kind.stem, "delta");
        event["delta"] = piece.into();
        event
    }

    fn closing(&self) -> Vec<Value> {
        let mut done = self.event(self.kind.stem, "done");
        done[self.kind.member] = self.text.as_str().into();
        let mut events = vec![done];
        if let (Some(listed), Some(part)) = (&self.kind.listed, self.value()) {
            let mut done = self.event(listed.stem, "done");
            done["part"] = part;
            events.push(done);
        }
        events
    }

    /// The part as the item lists it.
    fn value(&self) -> Option<Value> {
        let listed = self.kind.listed.as_ref()?;
        let mut part = json!({"type": listed.kind});
        part[self.kind.member] = self.text.as_str().into();
        if listed.kind == "output_text" {
            part["annotations"] = json!([]);
        }
        Some(part)
    }

    fn event(&self, stem: &str, what: &str) -> Value {
        let mut event = json!({
            "type": format!("{stem}.{what}"),
            "item_id": self.item_id,
            "output_index": self.output_index,
        });
        if let Some(listed) = &self.kind.listed {
            event[listed.index] = self.index.into();
        }
        event
    }
}

fn call_id(chosen: Option<&str>, (_, item_id): &Place) -> String {
    chosen.map_or_else(|| format!("call_{item_id}"), str::to_owned)
}
