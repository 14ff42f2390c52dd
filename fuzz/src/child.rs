//! What has to hold of a child's protocol whatever the child says: we write lines of JSON, about turns that we began.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;
use sidecar::codex::{ChildHarness, HarnessOutput, Protocol};
use sidecar::turn::{
    Content, Event, Item, Message, Model, Profile, Role, Summary, Tool, Tools, TurnRequest,
};

/// Turns of one child; more find nothing new.
const MAX_TURNS: u64 = 8;

/// A child that is told of by lines, and what is known of its turns.
pub(crate) struct Child {
    harness: ChildHarness,
    turns: HashMap<u64, Turn>,
    /// What we wrote, and nobody has looked at yet.
    written: Vec<Value>,
}

#[derive(Default)]
struct Turn {
    is_over: bool,
    is_closed: bool,
}

impl Child {
    pub(crate) fn start(protocol: Protocol) -> Self {
        let (harness, first) = ChildHarness::start(protocol);
        let mut child = Self {
            harness,
            turns: HashMap::new(),
            written: Vec::new(),
        };
        child.note(first);
        child
    }

    /// Begins one more turn if the child is ready for one.
    pub(crate) fn begin(&mut self) {
        let turn = self.turns.len() as u64;
        if self.harness.is_ready() && turn < MAX_TURNS {
            self.turns.insert(turn, Turn::default());
            let output = self.harness.begin(turn, request());
            self.note(output);
        }
    }

    /// Ends the turn that was begun last.
    pub(crate) fn interrupt(&mut self) {
        if let Some(turn) = (self.turns.len() as u64).checked_sub(1) {
            let output = self.harness.interrupt(turn);
            self.note(output);
        }
    }

    /// Reads a line; false when the child is of no more use.
    pub(crate) fn says(&mut self, line: &str) -> bool {
        let output = self.harness.read_line(line);
        output.map(|output| self.note(output)).is_ok()
    }

    /// Lets time pass; false when the child is of no more use.
    pub(crate) fn is_silent(&mut self, seconds: u64) -> bool {
        let output = self.harness.pass(Duration::from_secs(seconds));
        output.map(|output| self.note(output)).is_ok()
    }

    /// What we wrote since this was asked last.
    pub(crate) fn take_written(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.written)
    }

    fn note(&mut self, output: HarnessOutput) {
        for line in output.write {
            let breaks = line.iter().filter(|byte| **byte == b'\n').count();
            assert!(
                breaks == 1 && line.ends_with(b"\n"),
                "a message is one line"
            );
            self.written
                .push(serde_json::from_slice(&line).expect("we write JSON"));
        }
        for (turn, event) in output.events {
            let turn = self
                .turns
                .get_mut(&turn)
                .expect("events are of turns that were begun");
            // Readers stop at the first end; the channel drops what is behind it.
            turn.is_over |= matches!(event, Event::Finished(_));
        }
        for turn in output.closed {
            let turn = self
                .turns
                .get_mut(&turn)
                .expect("only what was begun is closed");
            assert!(turn.is_over, "a turn that is closed has been finished");
            assert!(!turn.is_closed, "a turn is closed once");
            turn.is_closed = true;
        }
    }
}

/// A turn that has all that a client can bring along.
fn request() -> TurnRequest {
    let text = |text: &str| vec![Content::Text(text.to_owned())];
    let message = |role, said| {
        Item::Message(Message {
            role,
            content: text(said),
        })
    };
    let schema = || serde_json::from_str(r#"{"type":"object"}"#).expect("JSON");
    let tool = Tool {
        name: "look_up".to_owned(),
        description: "Looks up.".to_owned(),
        parameters: schema(),
    };
    TurnRequest {
        profile: Profile::Chat,
        model: Model {
            name: "gpt-5".to_owned(),
            effort: None,
        },
        conversation: vec![
            message(Role::Developer, "Be brief."),
            message(Role::User, "hi"),
        ],
        tools: Tools {
            offered: vec![tool],
            ..Tools::default()
        },
        schema: Some(schema()),
        summary: Summary::Auto,
    }
}
