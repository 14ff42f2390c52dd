//! Invariants of a child's protocol for any output of the child: the sidecar writes lines of JSON, and its events and
//! closings belong to turns that were begun.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;
use sidecar::codex::{ChildHarness, HarnessOutput, Protocol};
use sidecar::turn::{
    Content, ConversationDigest, Event, Item, MemoryHold, Message, Model, Profile, Role, Summary,
    Tool, ToolKind, Tools, TurnRequest,
};

/// Maximum turns of one child; more do not reach new states.
const MAX_TURNS: u64 = 8;

/// A simulated child, and the state of its turns.
pub(crate) struct Child {
    harness: ChildHarness,
    turns: HashMap<u64, Turn>,
    /// Messages to the child that the target has not taken yet.
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
        child.apply(first);
        child
    }

    /// Begins another turn if the child is ready for one.
    pub(crate) fn begin(&mut self) {
        let turn = self.turns.len() as u64;
        if self.harness.is_ready() && turn < MAX_TURNS {
            self.turns.insert(turn, Turn::default());
            let output = self.harness.begin(turn, request());
            self.apply(output);
        }
    }

    /// Interrupts the latest turn.
    pub(crate) fn interrupt(&mut self) {
        if let Some(turn) = (self.turns.len() as u64).checked_sub(1) {
            let output = self.harness.interrupt(turn);
            self.apply(output);
        }
    }

    /// Processes a line of the child; false when the child has failed.
    pub(crate) fn receive(&mut self, line: &str) -> bool {
        let output = self.harness.read_line(line);
        output.map(|output| self.apply(output)).is_ok()
    }

    /// Advances the clock; false when the child has failed.
    pub(crate) fn advance(&mut self, seconds: u64) -> bool {
        let output = self.harness.pass(Duration::from_secs(seconds));
        output.map(|output| self.apply(output)).is_ok()
    }

    /// Takes the messages to the child since the last call.
    pub(crate) fn take_written(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.written)
    }

    fn apply(&mut self, output: HarnessOutput) {
        for line in output.write {
            let breaks = line.iter().filter(|byte| **byte == b'\n').count();
            assert!(
                breaks == 1 && line.ends_with(b"\n"),
                "a message is one line"
            );
            self.written
                .push(serde_json::from_slice(&line).expect("the sidecar writes JSON"));
        }
        for (turn, event) in output.events {
            let turn = self
                .turns
                .get_mut(&turn)
                .expect("events belong to turns that were begun");
            // Later events are allowed: the reader stops at the first end, and the channel drops the rest.
            turn.is_over |= matches!(event, Event::Finished(_));
        }
        for turn in output.closed {
            let turn = self.turns.get_mut(&turn).expect("closed turns were begun");
            assert!(turn.is_over, "a closed turn has finished");
            assert!(!turn.is_closed, "a turn is closed once");
            turn.is_closed = true;
        }
    }
}

/// A turn with every option of a request.
fn request() -> TurnRequest {
    let text = |text: &str| vec![Content::Text(text.to_owned())];
    let message = |role, content| {
        Item::Message(Message {
            phase: None,
            role,
            content: text(content),
        })
    };
    let schema = || serde_json::from_str(r#"{"type":"object"}"#).expect("JSON");
    let tool = Tool {
        name: "look_up".to_owned(),
        namespace: None,
        kind: ToolKind::Function,
        description: "Looks up.".to_owned(),
        parameters: schema(),
    };
    TurnRequest {
        profile: Profile::Chat,
        model: Model::new("gpt-5"),
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
        memory: MemoryHold::default(),
        hint: None,
        token_cap: None,
        digest: ConversationDigest::default(),
    }
}
