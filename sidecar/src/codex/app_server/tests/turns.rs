//! Turns of a session against a peer that writes lines as the real child does, and against silence.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::calls::{CALL_TIMEOUT, MAX_PENDING_CALLS};
use super::super::error::AppServerError;
use super::super::ids::TurnKey;
use super::super::session::*;
use super::super::wire;
use crate::codex::rate_limits::SharedRateLimits;
use crate::turn::{
    Content, Effort, Event, FinishReason, Item, Message, Model, Outcome, Profile, ReasoningItem,
    Role, Summary, Tool, ToolCall, Tools, TurnError, TurnRequest, Usage,
};

const KEY: TurnKey = TurnKey(7);

pub(super) fn request() -> TurnRequest {
    TurnRequest {
        profile: Profile::Chat,
        model: Model {
            name: "gpt-5".to_owned(),
            effort: Some(Effort::Low),
        },
        conversation: vec![Item::Message(Message {
            role: Role::User,
            content: vec![Content::Text("hi".to_owned())],
        })],
        tools: Tools::default(),
        schema: None,
        summary: Summary::None,
    }
}

/// A child that responds to calls when the test says so, and a record of the calls and events so far.
struct Peer {
    session: AppServerSession,
    sent: Vec<(String, Value)>,
    events: Vec<Event>,
    closed: usize,
}

impl Peer {
    fn start() -> Self {
        let (session, output) =
            AppServerSession::start(SharedRateLimits::default(), Instant::now());
        let mut peer = Self {
            session,
            sent: Vec::new(),
            events: Vec::new(),
            closed: 0,
        };
        peer.note(output);
        peer
    }

    fn ready() -> Self {
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
    fn running() -> Self {
        Self::running_with(request())
    }

    fn running_with(request: TurnRequest) -> Self {
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

    fn note(&mut self, output: SessionOutput) {
        for line in output.write {
            let breaks = line.iter().filter(|byte| **byte == b'\n').count();
            assert_eq!(breaks, 1, "a message is one line");
            let message: Value = serde_json::from_slice(&line).unwrap();
            let method = message["method"].as_str().unwrap_or("response").to_owned();
            self.sent.push((method, message));
        }
        self.events
            .extend(output.events.into_iter().map(|(key, event)| {
                assert_eq!(key, KEY);
                event
            }));
        self.closed += output.closed.len();
    }

    fn sends(&mut self, line: &str) {
        let output = self.session.read_line(line).unwrap();
        self.note(output);
    }

    fn notifies(&mut self, method: &str, mut params: Value) {
        params["threadId"] = "T".into();
        if params["turnId"].is_null() {
            params["turnId"] = "U".into();
        }
        self.sends(&json!({"method": method, "params": params}).to_string());
    }

    fn last(&self, method: &str) -> &Value {
        let call = self.sent.iter().rev().find(|(name, _)| name == method);
        &call
            .unwrap_or_else(|| panic!("{method} was not sent: {:?}", self.sent))
            .1
    }

    fn respond(&mut self, method: &str, result: &Value) {
        let id = self.last(method)["id"].clone();
        self.sends(&json!({"id": id, "result": result}).to_string());
    }

    fn reject(&mut self, method: &str, code: i64) {
        let id = self.last(method)["id"].clone();
        self.sends(&json!({"id": id, "error": {"code": code, "message": "no"}}).to_string());
    }

    fn delta(&mut self, text: &str) {
        self.notifies("item/agentMessage/delta", json!({"delta": text}));
    }

    fn raw_item(&mut self, item: &Value) {
        self.notifies("rawResponseItem/completed", json!({"item": item}));
    }

    fn call(&mut self, call_id: &str, name: &str) {
        let item =
            json!({"type": "function_call", "call_id": call_id, "name": name, "arguments": "{}"});
        self.raw_item(&item);
    }

    fn completes(&mut self, status: &str, error: &Value) {
        self.notifies(
            "turn/completed",
            json!({"turn": {"id": "U", "status": status, "error": error}}),
        );
    }

    fn methods(&self) -> Vec<&str> {
        self.sent
            .iter()
            .map(|(method, _)| method.as_str())
            .collect()
    }
}

fn failed(error: TurnError) -> Event {
    Event::Finished(Outcome::Failed(error))
}

#[test]
fn turn_runs_from_thread_start_to_unsubscribe_and_reports_usage() {
    let mut peer = Peer::running();
    peer.delta("Hel");
    peer.delta("lo");
    peer.notifies("item/completed", json!({"item": {"type": "agentMessage"}}));
    peer.delta("Bye");
    let tokens = json!({"inputTokens": 11, "cachedInputTokens": 3, "outputTokens": 5, "reasoningOutputTokens": 2});
    peer.notifies(
        "thread/tokenUsage/updated",
        json!({"tokenUsage": {"total": tokens, "last": {}}}),
    );
    peer.completes("completed", &Value::Null);
    let text = |text: &str| Event::Text(text.to_owned());
    let usage = Usage {
        input_tokens: 11,
        cached_input_tokens: 3,
        output_tokens: 5,
        reasoning_tokens: 2,
    };
    let completed = Outcome::Completed {
        stop: FinishReason::Stop,
        usage: Some(usage),
    };
    let expected = [
        text("Hel"),
        text("lo"),
        Event::MessageEnded,
        text("Bye"),
        Event::Heartbeat,
        Event::Finished(completed),
    ];
    assert_eq!(peer.events, expected);
    assert_eq!(peer.closed, 0, "the child still knows the thread");
    peer.respond("thread/unsubscribe", &json!({"status": "unsubscribed"}));
    assert_eq!(peer.closed, 1);
    let calls = [
        "initialize",
        "initialized",
        "getAuthStatus",
        "thread/start",
        "thread/inject_items",
        "turn/start",
        "thread/unsubscribe",
    ];
    assert_eq!(peer.methods(), calls);
    assert_eq!(peer.last("turn/start")["params"]["effort"], "low");
    assert_eq!(
        peer.last("thread/inject_items")["params"]["items"][0]["role"],
        "user"
    );
}

#[test]
fn interrupt_ends_the_turn_at_every_stage() {
    type Stage = (&'static str, fn(&mut Peer));
    let stages: [Stage; 4] = [
        ("thread/start", |peer| {
            peer.respond("thread/start", &json!({"thread": {"id": "T"}}))
        }),
        ("thread/inject_items", |peer| {
            peer.respond("thread/inject_items", &json!({}))
        }),
        ("turn/start", |peer| {
            peer.respond("turn/start", &json!({"turn": {"id": "U"}}))
        }),
        ("running", |_| {}),
    ];
    for interrupted_at in 0..stages.len() {
        let mut peer = Peer::ready();
        let output = peer.session.begin(KEY, request(), None);
        peer.note(output);
        for (_, respond) in &stages[..interrupted_at] {
            respond(&mut peer);
        }
        let output = peer.session.interrupt(KEY);
        peer.note(output);
        let (stage, respond) = stages[interrupted_at];
        respond(&mut peer);
        let turn_runs = interrupted_at >= 2;
        if turn_runs {
            peer.respond("turn/interrupt", &json!({}));
            peer.completes("interrupted", &Value::Null);
        }
        peer.respond("thread/unsubscribe", &json!({}));
        assert_eq!(
            peer.closed,
            1,
            "interrupted during {stage}: {:?}",
            peer.methods()
        );
        assert_eq!(
            peer.methods().contains(&"turn/start"),
            turn_runs,
            "interrupted during {stage}"
        );
    }
}

#[test]
fn retry_after_text_fails_the_turn_instead_of_repeating_the_text() {
    let mut peer = Peer::running();
    peer.delta("par");
    peer.notifies(
        "error",
        json!({"error": {"message": "Reconnecting... 1/2"}, "willRetry": true}),
    );
    assert_eq!(peer.events.last(), Some(&failed(TurnError::ProviderFailed)));
    assert_eq!(peer.methods().last(), Some(&"turn/interrupt"));
}

#[test]
fn failures_of_the_model_service_map_to_distinct_errors() {
    for (info, error) in [
        (json!("contextWindowExceeded"), TurnError::ContextLength),
        (
            json!({"httpConnectionFailed": {"httpStatusCode": 401}}),
            TurnError::Unauthorized,
        ),
    ] {
        let mut peer = Peer::running();
        peer.completes("failed", &json!({"message": "m", "codexErrorInfo": info}));
        assert_eq!(peer.events, [failed(error)]);
        assert_eq!(peer.methods().last(), Some(&"thread/unsubscribe"));
    }
}

#[test]
fn rejected_call_fails_only_its_turn() {
    for (code, error) in [
        (wire::OVERLOADED, TurnError::Busy),
        (-32600, TurnError::Protocol),
    ] {
        let mut peer = Peer::ready();
        let output = peer.session.begin(KEY, request(), None);
        peer.note(output);
        peer.reject("thread/start", code);
        assert_eq!(
            (peer.events.as_slice(), peer.closed),
            (&[failed(error)][..], 1)
        );
        assert_eq!(peer.session.state(), SessionState::Ready);
    }
}

#[test]
fn requests_of_the_child_are_declined_at_once() {
    for (method, response) in [
        (
            "item/commandExecution/requestApproval",
            json!({"result": {"decision": "decline"}}),
        ),
        (
            "item/fileChange/requestApproval",
            json!({"result": {"decision": "decline"}}),
        ),
        (
            "item/permissions/requestApproval",
            json!({"result": {"permissions": {}, "scope": "turn"}}),
        ),
        (
            "item/tool/requestUserInput",
            json!({"result": {"answers": {}}}),
        ),
        (
            "attestation/generate",
            json!({"error": {"code": -32601, "message": "not supported by this client"}}),
        ),
    ] {
        let mut peer = Peer::running();
        peer.sends(
            &json!({"method": method, "id": "r\"1", "params": {"threadId": "T"}}).to_string(),
        );
        let mut expected = response;
        expected["id"] = json!("r\"1");
        assert_eq!(
            peer.sent.last(),
            Some(&("response".to_owned(), expected)),
            "{method}"
        );
    }
}

#[test]
fn missing_login_is_checked_again() {
    let mut peer = Peer::start();
    peer.respond("initialize", &json!({}));
    peer.respond(
        "getAuthStatus",
        &json!({"authMethod": null, "requiresOpenaiAuth": true}),
    );
    assert_eq!(peer.session.state(), SessionState::LoginRequired);
    let later = Instant::now() + LOGIN_POLL * 2;
    let output = peer.session.tick(later).unwrap();
    peer.note(output);
    peer.respond(
        "getAuthStatus",
        &json!({"authMethod": "apikey", "requiresOpenaiAuth": true}),
    );
    assert_eq!(peer.session.state(), SessionState::Ready);
}

#[test]
fn calls_beyond_the_limit_wait_for_responses() {
    let mut peer = Peer::ready();
    for key in 0..100 {
        let output = peer.session.begin(TurnKey(key), request(), None);
        peer.sent.extend(output.write.iter().map(|line| {
            let message: Value = serde_json::from_slice(line).unwrap();
            (message["method"].as_str().unwrap().to_owned(), message)
        }));
    }
    let started = |peer: &Peer| {
        peer.methods()
            .iter()
            .filter(|method| **method == "thread/start")
            .count()
    };
    assert_eq!(started(&peer), MAX_PENDING_CALLS);
    let output = peer
        .session
        .read_line(r#"{"id":2,"error":{"code":-32001,"message":"busy"}}"#)
        .unwrap();
    assert_eq!((output.write.len(), output.closed), (1, vec![TurnKey(0)]));
}

#[test]
fn call_timeout_fails_the_turn_and_counts_a_stuck_thread() {
    let mut peer = Peer::ready();
    let output = peer.session.begin(KEY, request(), None);
    peer.note(output);
    let later = Instant::now() + CALL_TIMEOUT * 2;
    let output = peer.session.tick(later).unwrap();
    peer.note(output);
    let failed = failed(TurnError::Protocol);
    assert_eq!((peer.events.as_slice(), peer.closed), (&[failed][..], 1));
    assert_eq!(peer.session.stuck_threads(), 1);
    let (mut silent, _initialize) =
        AppServerSession::start(SharedRateLimits::default(), Instant::now());
    assert!(matches!(
        silent.tick(later),
        Err(AppServerError::Timeout("initialize"))
    ));
}

#[test]
fn turn_that_runs_on_after_its_interrupt_is_given_up() {
    let mut peer = Peer::running();
    let output = peer.session.interrupt(KEY);
    peer.note(output);
    peer.respond("turn/interrupt", &json!({}));
    let output = peer
        .session
        .tick(Instant::now() + INTERRUPT_TIMEOUT * 2)
        .unwrap();
    peer.note(output);
    assert_eq!(peer.methods().last(), Some(&"thread/unsubscribe"));
}

#[test]
fn text_delta_is_parsed_in_any_field_order() {
    let params = r#"{"threadId":"T","turnId":"U","itemId":"i","delta":"a\n\"é"}"#;
    let method = r#""method":"item/agentMessage/delta""#;
    for (line, is_one_pass) in [
        (
            format!(r#"{{{method},"params":{params},"emittedAtMs":1}}"#),
            true,
        ),
        (
            format!(r#"{{"emittedAtMs":1,"params":{params},{method}}}"#),
            false,
        ),
        (format!(r#"{{ {method}, "params": {params} }}"#), false),
    ] {
        assert_eq!(
            wire::TextDelta::parse(&line).is_some(),
            is_one_pass,
            "{line}"
        );
        let mut peer = Peer::running();
        peer.sends(&line);
        assert_eq!(peer.events, [Event::Text("a\n\"é".to_owned())], "{line}");
    }
}

#[test]
fn invalid_message_ends_the_child_and_unknown_message_does_not() {
    let mut peer = Peer::running();
    for line in [
        r#"{"method":"something/new","params":{"threadId":"T","x":1}}"#,
        r#"{"method":"something/new"}"#,
        r#"{"id":999,"result":{}}"#,
        r#"{"method":"item/agentMessage/delta","params":{"threadId":"other","itemId":"i","delta":"secret"}}"#,
    ] {
        peer.sends(line);
    }
    assert!(!format!("{:?}", peer.events).contains("secret"));
    assert_eq!(peer.events, [Event::Heartbeat]);
    for line in [
        "",
        "not json",
        "[1]",
        r#"{"method":"turn/completed","params":{"threadId":"T"}}"#,
    ] {
        assert!(Peer::running().session.read_line(line).is_err(), "{line:?}");
    }
}

fn with_tools(change: impl FnOnce(&mut Tools)) -> TurnRequest {
    let mut request = request();
    request.tools.offered = ["look", "go"]
        .map(|name| Tool {
            name: name.to_owned(),
            description: String::new(),
            parameters: serde_json::value::to_raw_value(&json!({"type": "object"})).unwrap(),
        })
        .into();
    change(&mut request.tools);
    request
}

fn call(call_id: &str, name: &str) -> Event {
    Event::ToolCall(ToolCall {
        call_id: call_id.to_owned(),
        name: name.to_owned(),
        arguments: "{}".to_owned(),
    })
}

#[test]
fn tool_calls_finish_the_turn_at_the_end_of_the_response() {
    let mut peer = Peer::running_with(with_tools(|_| {}));
    let start = &peer.last("thread/start")["params"];
    assert_eq!(start["dynamicTools"][1]["name"], "go");
    assert_eq!(start["experimentalRawEvents"], true);
    let old = json!({"type": "function_call", "call_id": "old", "name": "look", "arguments": "{}"});
    let echoed = json!({"item": old, "turnId": "auto-compact-0"});
    peer.notifies("rawResponseItem/completed", echoed);
    peer.raw_item(&json!({"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm"}], "encrypted_content": "gA"}));
    peer.call("c1", "look");
    let asked = json!({"id": 0, "method": "item/tool/call", "params": {"threadId": "T", "callId": "c1", "tool": "look", "arguments": {}}});
    peer.sends(&asked.to_string());
    peer.call("c2", "not_offered");
    assert!(
        !peer.methods().contains(&"response"),
        "a response would make the model go on"
    );
    peer.notifies(
        "rawResponse/completed",
        json!({"usage": {"inputTokens": 11, "outputTokens": 5}}),
    );
    let thought = ReasoningItem {
        summary: vec!["Hm".to_owned()],
        encrypted_content: Some("gA".to_owned()),
    };
    let usage = Usage {
        input_tokens: 11,
        output_tokens: 5,
        ..Usage::default()
    };
    let finished = Outcome::Completed {
        stop: FinishReason::ToolCalls,
        usage: Some(usage),
    };
    let expected = [
        Event::ReasoningItem(thought),
        call("c1", "look"),
        call("c2", "not_offered"),
        Event::Finished(finished),
    ];
    assert_eq!(peer.events, expected);
    assert_eq!(peer.methods().last(), Some(&"turn/interrupt"));
}

#[test]
fn without_raw_items_tool_calls_finish_the_turn_after_a_quiet_time() {
    let mut peer = Peer::running_with(with_tools(|_| {}));
    for (id, tool) in [("c1", "look"), ("c2", "go")] {
        let params = json!({"threadId": "T", "callId": id, "tool": tool, "arguments": {"x": 1}});
        peer.sends(&json!({"id": id, "method": "item/tool/call", "params": params}).to_string());
    }
    let output = peer.session.tick(Instant::now() + Duration::from_secs(1));
    peer.note(output.unwrap());
    assert_eq!(
        peer.events.len(),
        2,
        "more calls may follow: {:?}",
        peer.events
    );
    let output = peer.session.tick(Instant::now() + Duration::from_secs(3));
    peer.note(output.unwrap());
    assert_eq!(peer.events.len(), 3);
    let ended = Outcome::Completed {
        stop: FinishReason::ToolCalls,
        usage: None,
    };
    assert_eq!(peer.events[2], Event::Finished(ended));
    assert_eq!(peer.methods().last(), Some(&"turn/interrupt"));
}

#[test]
fn tool_call_of_an_unknown_thread_is_declined() {
    let mut peer = Peer::ready();
    let asked = json!({"id": 9, "method": "item/tool/call", "params": {"threadId": "X", "callId": "c1", "tool": "look"}});
    peer.sends(&asked.to_string());
    assert_eq!(peer.last("response")["result"]["success"], false);
}

#[test]
fn only_the_first_tool_call_is_sent_without_parallel_tool_calls() {
    let mut peer = Peer::running_with(with_tools(|tools| tools.one_at_a_time = true));
    peer.call("c1", "look");
    peer.call("c2", "go");
    assert_eq!(peer.events, [call("c1", "look")]);
}

#[test]
fn tool_calls_of_an_agents_own_tools_are_not_sent() {
    let mut request = with_tools(|_| {});
    request.profile = Profile::Agent;
    let mut peer = Peer::running_with(request);
    peer.call("c1", "shell");
    peer.notifies("rawResponse/completed", json!({"usage": null}));
    assert_eq!(peer.events, [Event::Heartbeat]);
    peer.call("c2", "go");
    assert_eq!(peer.events.last(), Some(&call("c2", "go")));
}

#[test]
fn missing_required_tool_call_fails_the_turn() {
    let required = || with_tools(|tools| tools.required = true);
    let mut peer = Peer::running_with(required());
    let items = peer.last("thread/inject_items")["params"]["items"].clone();
    let instruction = items.as_array().unwrap().last().unwrap();
    assert_eq!(instruction["role"], "developer", "{items}");
    peer.delta("No.");
    peer.completes("completed", &Value::Null);
    assert_eq!(peer.events.last(), Some(&failed(TurnError::ToolNotCalled)));

    let mut silent = Peer::running_with(required());
    silent.completes("completed", &Value::Null);
    assert_eq!(silent.events, [failed(TurnError::ToolNotCalled)]);
}

#[test]
fn tool_call_without_offered_tools_fails_the_turn() {
    let mut peer = Peer::running();
    peer.call("c1", "look");
    peer.notifies("rawResponse/completed", json!({"usage": null}));
    assert_eq!(peer.events, [failed(TurnError::UnaskedCall)]);
    assert_eq!(peer.methods().last(), Some(&"turn/interrupt"));
}

#[test]
fn stale_tool_call_request_gets_an_empty_output() {
    let mut peer = Peer::running_with(with_tools(|_| {}));
    peer.call("c1", "look");
    let params = json!({"threadId": "T", "callId": "c1", "tool": "look", "arguments": {}});
    peer.sends(&json!({"id": 5, "method": "item/tool/call", "params": params}).to_string());
    assert!(!peer.methods().contains(&"response"));
    let output = peer.session.tick(Instant::now() + TOOL_OUTPUT_PATIENCE * 2);
    peer.note(output.unwrap());
    assert_eq!(peer.last("response")["id"], 5);
    peer.completes(
        "failed",
        &json!({"message": "cut", "codexErrorInfo": "other"}),
    );
    assert_eq!(peer.events.last(), Some(&failed(TurnError::ProviderFailed)));
}

#[test]
fn schema_with_line_breaks_is_sent_as_one_line() {
    let mut request = request();
    request.schema = Some(serde_json::from_str("{\n  \"type\":\r\n \"object\"}").unwrap());
    let peer = Peer::running_with(request);
    assert_eq!(
        peer.last("turn/start")["params"]["outputSchema"]["type"],
        "object"
    );
}

#[test]
fn revoked_login_stays_missing_on_the_same_child() {
    let unauthorized = json!({"message": "m", "codexErrorInfo": "unauthorized"});
    for (account, state) in [
        (
            json!({"account": {"type": "apiKey"}, "requiresOpenaiAuth": true}),
            SessionState::Ready,
        ),
        (
            json!({"account": null, "requiresOpenaiAuth": false}),
            SessionState::Ready,
        ),
        (
            json!({"account": null, "requiresOpenaiAuth": true}),
            SessionState::LoginRequired,
        ),
    ] {
        let mut peer = Peer::running();
        peer.completes("failed", &unauthorized);
        peer.respond("account/read", &account);
        assert_eq!(peer.session.state(), state, "{account}");
        let output = peer.session.tick(Instant::now() + Duration::from_secs(4));
        peer.note(output.unwrap());
        peer.respond(
            "getAuthStatus",
            &json!({"authMethod": "chatgpt", "requiresOpenaiAuth": true}),
        );
        assert_eq!(
            peer.session.state(),
            state,
            "the child still reports the login: {account}"
        );
    }
    let mut peer = Peer::running();
    peer.completes("failed", &unauthorized);
    peer.reject("account/read", -32603);
    assert_eq!(peer.session.state(), SessionState::Ready);
}
