//! A peer of the session: a child that responds to calls when the test says so.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::ids::TurnKey;
use super::super::session::*;
use crate::codex::rate_limits::SharedRateLimits;
use crate::turn::{
    Content, ConversationDigest, Effort, Event, Item, MemoryHold, Message, Model, Outcome, Profile,
    Role, Summary, Tools, TurnError, TurnRequest,
};

pub(super) const KEY: TurnKey = TurnKey(7);

pub(super) fn request() -> TurnRequest {
    TurnRequest {
        profile: Profile::Chat,
        model: Model::new("gpt-5").with_effort(Effort::parse("low")),
        conversation: vec![Item::Message(Message {
            phase: None,
            role: Role::User,
            content: vec![Content::Text("hi".to_owned())],
        })],
        tools: Tools::default(),
        schema: None,
        summary: Summary::None,
        memory: MemoryHold::default(),
        hint: None,
        token_cap: None,
        digest: ConversationDigest::default(),
    }
}

/// A child that responds to calls when the test says so, and a record of the calls and events so far.
pub(super) struct Peer {
    pub(super) session: AppServerSession,
    pub(super) sent: Vec<(String, Value)>,
    pub(super) events: Vec<Event>,
    pub(super) closed: usize,
    /// The turn of the events.
    pub(super) key: TurnKey,
}

impl Peer {
    pub(super) fn start() -> Self {
        let (session, output) =
            AppServerSession::start(SharedRateLimits::default(), Instant::now());
        let mut peer = Self {
            session,
            sent: Vec::new(),
            events: Vec::new(),
            closed: 0,
            key: KEY,
        };
        peer.note(output);
        peer
    }

    pub(super) fn ready() -> Self {
        let mut peer = Self::start();
        peer.respond("initialize", &json!({}));
        peer.respond(
            "getAuthStatus",
            &json!({"authMethod": "chatgpt", "requiresOpenaiAuth": true}),
        );
        assert_eq!(peer.session.state(), SessionState::Ready);
        peer
    }

    /// Returns a peer with a running turn: thread T, turn U.
    pub(super) fn running() -> Self {
        Self::running_with(request())
    }

    pub(super) fn running_with(request: TurnRequest) -> Self {
        let mut peer = Self::ready();
        let output = peer.session.begin(KEY, request, None);
        peer.note(output);
        peer.respond("thread/start", &json!({"thread": {"id": "T"}}));
        peer.respond("thread/inject_items", &json!({}));
        peer.respond("turn/start", &json!({"turn": {"id": "U"}}));
        assert_eq!(peer.events, [Event::Heartbeat]);
        peer.events.clear();
        peer
    }

    pub(super) fn note(&mut self, output: SessionOutput) {
        for line in output.write {
            let breaks = line.iter().filter(|byte| **byte == b'\n').count();
            assert_eq!(breaks, 1, "a message is one line");
            let message: Value = serde_json::from_slice(&line).unwrap();
            let method = message["method"].as_str().unwrap_or("response").to_owned();
            self.sent.push((method, message));
        }
        self.events
            .extend(output.events.into_iter().map(|(key, event)| {
                assert_eq!(key, self.key);
                event
            }));
        self.closed += output.closed.len();
    }

    pub(super) fn sends(&mut self, line: &str) {
        let output = self.session.read_line(line).unwrap();
        self.note(output);
    }

    pub(super) fn notifies(&mut self, method: &str, mut params: Value) {
        params["threadId"] = "T".into();
        if params["turnId"].is_null() {
            params["turnId"] = "U".into();
        }
        self.sends(&json!({"method": method, "params": params}).to_string());
    }

    pub(super) fn last(&self, method: &str) -> &Value {
        let call = self.sent.iter().rev().find(|(name, _)| name == method);
        &call
            .unwrap_or_else(|| panic!("{method} was not sent: {:?}", self.sent))
            .1
    }

    pub(super) fn respond(&mut self, method: &str, result: &Value) {
        let id = self.last(method)["id"].clone();
        self.sends(&json!({"id": id, "result": result}).to_string());
    }

    pub(super) fn reject(&mut self, method: &str, code: i64) {
        let id = self.last(method)["id"].clone();
        self.sends(&json!({"id": id, "error": {"code": code, "message": "no"}}).to_string());
    }

    pub(super) fn delta(&mut self, text: &str) {
        self.notifies("item/agentMessage/delta", json!({"delta": text}));
    }

    pub(super) fn message_starts(&mut self) {
        let item = json!({"type": "agentMessage", "id": "msg_0", "text": ""});
        self.notifies("item/started", json!({"item": item}));
    }

    /// Sends the end of a message, with its whole text.
    pub(super) fn message_ends(&mut self, text: &str) {
        let item = json!({"type": "agentMessage", "id": "msg_0", "text": text});
        self.notifies("item/completed", json!({"item": item}));
    }

    pub(super) fn raw_item(&mut self, item: &Value) {
        self.notifies("rawResponseItem/completed", json!({"item": item}));
    }

    pub(super) fn call(&mut self, call_id: &str, name: &str) {
        let item =
            json!({"type": "function_call", "call_id": call_id, "name": name, "arguments": "{}"});
        self.raw_item(&item);
    }

    pub(super) fn completes(&mut self, status: &str, error: &Value) {
        self.notifies(
            "turn/completed",
            json!({"turn": {"id": "U", "status": status, "error": error}}),
        );
    }

    pub(super) fn methods(&self) -> Vec<&str> {
        self.sent
            .iter()
            .map(|(method, _)| method.as_str())
            .collect()
    }
}

pub(super) fn failed(error: TurnError) -> Event {
    Event::Finished(Outcome::Failed(error))
}
