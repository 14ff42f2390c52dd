//! The protocol against lines as the real child writes them, and against silence.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::calls::{CALL_DEADLINE, MAX_UNANSWERED_CALLS};
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

/// A child that answers what it is called, and the events that came of it.
struct Peer {
    server: AppServer,
    called: Vec<(String, Value)>,
    events: Vec<Event>,
    closed: usize,
}

impl Peer {
    fn start() -> Self {
        let (server, step) = AppServer::start(SharedRateLimits::default(), Instant::now());
        let mut peer = Self {
            server,
            called: Vec::new(),
            events: Vec::new(),
            closed: 0,
        };
        peer.note(step);
        peer
    }

    fn ready() -> Self {
        let mut peer = Self::start();
        peer.answer("initialize", &json!({}));
        peer.answer(
            "getAuthStatus",
            &json!({"authMethod": "chatgpt", "requiresOpenaiAuth": true}),
        );
        assert_eq!(peer.server.state(), State::Ready);
        peer
    }

    /// A turn that runs on thread T as turn U.
    fn running() -> Self {
        Self::running_with(request())
    }

    fn running_with(request: TurnRequest) -> Self {
        let mut peer = Self::ready();
        let step = peer.server.begin(KEY, request, None);
        peer.note(step);
        peer.answer("thread/start", &json!({"thread": {"id": "T"}}));
        peer.answer("thread/inject_items", &json!({}));
        peer.answer("turn/start", &json!({"turn": {"id": "U"}}));
        assert_eq!(peer.events, [Event::Heartbeat]);
        peer.events.clear();
        peer
    }

    fn note(&mut self, step: Step) {
        for line in step.write {
            let breaks = line.iter().filter(|byte| **byte == b'\n').count();
            assert_eq!(breaks, 1, "a message is one line");
            let message: Value = serde_json::from_slice(&line).unwrap();
            let method = message["method"].as_str().unwrap_or("answer").to_owned();
            self.called.push((method, message));
        }
        self.events
            .extend(step.events.into_iter().map(|(key, event)| {
                assert_eq!(key, KEY);
                event
            }));
        self.closed += step.closed.len();
    }

    fn says(&mut self, line: &str) {
        let step = self.server.read_line(line).unwrap();
        self.note(step);
    }

    fn notifies(&mut self, method: &str, mut params: Value) {
        params["threadId"] = "T".into();
        if params["turnId"].is_null() {
            params["turnId"] = "U".into();
        }
        self.says(&json!({"method": method, "params": params}).to_string());
    }

    fn last(&self, method: &str) -> &Value {
        let call = self.called.iter().rev().find(|(name, _)| name == method);
        &call
            .unwrap_or_else(|| panic!("{method} was not called: {:?}", self.called))
            .1
    }

    fn answer(&mut self, method: &str, result: &Value) {
        let id = self.last(method)["id"].clone();
        self.says(&json!({"id": id, "result": result}).to_string());
    }

    fn refuse(&mut self, method: &str, code: i64) {
        let id = self.last(method)["id"].clone();
        self.says(&json!({"id": id, "error": {"code": code, "message": "no"}}).to_string());
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
        self.called
            .iter()
            .map(|(method, _)| method.as_str())
            .collect()
    }
}

fn failed(error: TurnError) -> Event {
    Event::Finished(Outcome::Failed(error))
}

#[test]
fn a_turn_goes_from_thread_to_thread_and_reports_what_it_cost() {
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
    peer.answer("thread/unsubscribe", &json!({"status": "unsubscribed"}));
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
fn a_client_that_leaves_ends_its_turn_at_every_stage() {
    type Stage = (&'static str, fn(&mut Peer));
    let stages: [Stage; 4] = [
        ("thread/start", |peer| {
            peer.answer("thread/start", &json!({"thread": {"id": "T"}}))
        }),
        ("thread/inject_items", |peer| {
            peer.answer("thread/inject_items", &json!({}))
        }),
        ("turn/start", |peer| {
            peer.answer("turn/start", &json!({"turn": {"id": "U"}}))
        }),
        ("running", |_| {}),
    ];
    for leaves_at in 0..stages.len() {
        let mut peer = Peer::ready();
        let step = peer.server.begin(KEY, request(), None);
        peer.note(step);
        for (_, answer) in &stages[..leaves_at] {
            answer(&mut peer);
        }
        let step = peer.server.interrupt(KEY);
        peer.note(step);
        let (stage, answer) = stages[leaves_at];
        answer(&mut peer);
        let turn_runs = leaves_at >= 2;
        if turn_runs {
            peer.answer("turn/interrupt", &json!({}));
            peer.completes("interrupted", &Value::Null);
        }
        peer.answer("thread/unsubscribe", &json!({}));
        assert_eq!(peer.closed, 1, "left during {stage}: {:?}", peer.methods());
        assert_eq!(
            peer.methods().contains(&"turn/start"),
            turn_runs,
            "left during {stage}"
        );
    }
}

#[test]
fn a_retry_after_text_was_read_ends_the_turn_instead_of_repeating_it() {
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
fn failures_of_the_model_service_are_told_apart() {
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
fn a_refused_call_fails_its_turn_only() {
    for (code, error) in [
        (wire::OVERLOADED, TurnError::Busy),
        (-32600, TurnError::Protocol),
    ] {
        let mut peer = Peer::ready();
        let step = peer.server.begin(KEY, request(), None);
        peer.note(step);
        peer.refuse("thread/start", code);
        assert_eq!(
            (peer.events.as_slice(), peer.closed),
            (&[failed(error)][..], 1)
        );
        assert_eq!(peer.server.state(), State::Ready);
    }
}

#[test]
fn every_request_of_the_child_is_refused_at_once() {
    for (method, refusal) in [
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
        peer.says(
            &json!({"method": method, "id": "r\"1", "params": {"threadId": "T"}}).to_string(),
        );
        let mut expected = refusal;
        expected["id"] = json!("r\"1");
        assert_eq!(
            peer.called.last(),
            Some(&("answer".to_owned(), expected)),
            "{method}"
        );
    }
}

#[test]
fn a_missing_login_is_looked_for_again() {
    let mut peer = Peer::start();
    peer.answer("initialize", &json!({}));
    peer.answer(
        "getAuthStatus",
        &json!({"authMethod": null, "requiresOpenaiAuth": true}),
    );
    assert_eq!(peer.server.state(), State::LoginRequired);
    let later = Instant::now() + LOGIN_POLL * 2;
    let step = peer.server.tick(later).unwrap();
    peer.note(step);
    peer.answer(
        "getAuthStatus",
        &json!({"authMethod": "apikey", "requiresOpenaiAuth": true}),
    );
    assert_eq!(peer.server.state(), State::Ready);
}

#[test]
fn calls_beyond_the_bound_wait_for_answers() {
    let mut peer = Peer::ready();
    for key in 0..100 {
        let step = peer.server.begin(TurnKey(key), request(), None);
        peer.called.extend(step.write.iter().map(|line| {
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
    assert_eq!(started(&peer), MAX_UNANSWERED_CALLS);
    let step = peer
        .server
        .read_line(r#"{"id":2,"error":{"code":-32001,"message":"busy"}}"#)
        .unwrap();
    assert_eq!((step.write.len(), step.closed), (1, vec![TurnKey(0)]));
}

#[test]
fn silence_fails_the_turn_and_is_counted() {
    let mut peer = Peer::ready();
    let step = peer.server.begin(KEY, request(), None);
    peer.note(step);
    let later = Instant::now() + CALL_DEADLINE * 2;
    let step = peer.server.tick(later).unwrap();
    peer.note(step);
    let failed = failed(TurnError::Protocol);
    assert_eq!((peer.events.as_slice(), peer.closed), (&[failed][..], 1));
    assert_eq!(peer.server.stuck_threads(), 1);
    let (mut silent, _initialize) = AppServer::start(SharedRateLimits::default(), Instant::now());
    assert!(matches!(
        silent.tick(later),
        Err(ProtocolError::Silent("initialize"))
    ));
}

#[test]
fn a_turn_that_goes_on_after_its_interrupt_is_given_up() {
    let mut peer = Peer::running();
    let step = peer.server.interrupt(KEY);
    peer.note(step);
    peer.answer("turn/interrupt", &json!({}));
    let step = peer
        .server
        .tick(Instant::now() + INTERRUPT_DEADLINE * 2)
        .unwrap();
    peer.note(step);
    assert_eq!(peer.methods().last(), Some(&"thread/unsubscribe"));
}

#[test]
fn a_piece_of_text_is_the_same_however_its_line_is_written() {
    let params = r#"{"threadId":"T","turnId":"U","itemId":"i","delta":"a\n\"é"}"#;
    let method = r#""method":"item/agentMessage/delta""#;
    for (line, at_once) in [
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
        assert_eq!(wire::TextDelta::parse(&line).is_some(), at_once, "{line}");
        let mut peer = Peer::running();
        peer.says(&line);
        assert_eq!(peer.events, [Event::Text("a\n\"é".to_owned())], "{line}");
    }
}

#[test]
fn what_is_no_message_ends_the_child_and_what_is_unknown_does_not() {
    let mut peer = Peer::running();
    for line in [
        r#"{"method":"something/new","params":{"threadId":"T","x":1}}"#,
        r#"{"method":"something/new"}"#,
        r#"{"id":999,"result":{}}"#,
        r#"{"method":"item/agentMessage/delta","params":{"threadId":"other","itemId":"i","delta":"secret"}}"#,
    ] {
        peer.says(line);
    }
    assert!(!format!("{:?}", peer.events).contains("secret"));
    assert_eq!(peer.events, [Event::Heartbeat]);
    for line in [
        "",
        "not json",
        "[1]",
        r#"{"method":"turn/completed","params":{"threadId":"T"}}"#,
    ] {
        assert!(Peer::running().server.read_line(line).is_err(), "{line:?}");
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
fn calls_end_the_turn_once_all_of_them_are_known() {
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
    peer.says(&asked.to_string());
    peer.call("c2", "nobody_offered_this");
    assert!(
        !peer.methods().contains(&"answer"),
        "an answer would make the model go on"
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
        call("c2", "nobody_offered_this"),
        Event::Finished(finished),
    ];
    assert_eq!(peer.events, expected);
    assert_eq!(peer.methods().last(), Some(&"turn/interrupt"));
}

#[test]
fn without_raw_items_the_calls_that_are_asked_for_end_the_turn_when_no_more_come() {
    let mut peer = Peer::running_with(with_tools(|_| {}));
    for (id, tool) in [("c1", "look"), ("c2", "go")] {
        let params = json!({"threadId": "T", "callId": id, "tool": tool, "arguments": {"x": 1}});
        peer.says(&json!({"id": id, "method": "item/tool/call", "params": params}).to_string());
    }
    let step = peer.server.tick(Instant::now() + Duration::from_secs(1));
    peer.note(step.unwrap());
    assert_eq!(peer.events.len(), 2, "there may be more: {:?}", peer.events);
    let step = peer.server.tick(Instant::now() + Duration::from_secs(3));
    peer.note(step.unwrap());
    assert_eq!(peer.events.len(), 3);
    let ended = Outcome::Completed {
        stop: FinishReason::ToolCalls,
        usage: None,
    };
    assert_eq!(peer.events[2], Event::Finished(ended));
    assert_eq!(peer.methods().last(), Some(&"turn/interrupt"));
}

#[test]
fn a_call_of_a_thread_that_is_not_ours_is_refused() {
    let mut peer = Peer::ready();
    let asked = json!({"id": 9, "method": "item/tool/call", "params": {"threadId": "X", "callId": "c1", "tool": "look"}});
    peer.says(&asked.to_string());
    assert_eq!(peer.last("answer")["result"]["success"], false);
}

#[test]
fn of_several_calls_only_the_first_is_told_where_one_at_a_time_is_wanted() {
    let mut peer = Peer::running_with(with_tools(|tools| tools.one_at_a_time = true));
    peer.call("c1", "look");
    peer.call("c2", "go");
    assert_eq!(peer.events, [call("c1", "look")]);
}

#[test]
fn an_agents_own_tools_are_never_shown_as_the_clients() {
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
fn a_required_call_that_does_not_come_is_a_failure() {
    let required = || with_tools(|tools| tools.required = true);
    let mut peer = Peer::running_with(required());
    let items = peer.last("thread/inject_items")["params"]["items"].clone();
    let asked = items.as_array().unwrap().last().unwrap();
    assert_eq!(asked["role"], "developer", "{items}");
    peer.delta("No.");
    peer.completes("completed", &Value::Null);
    assert_eq!(peer.events.last(), Some(&failed(TurnError::ToolNotCalled)));

    let mut silent = Peer::running_with(required());
    silent.completes("completed", &Value::Null);
    assert_eq!(silent.events, [failed(TurnError::ToolNotCalled)]);
}

#[test]
fn a_call_that_nobody_allowed_is_a_failure_of_the_model() {
    let mut peer = Peer::running();
    peer.call("c1", "look");
    peer.notifies("rawResponse/completed", json!({"usage": null}));
    assert_eq!(peer.events, [failed(TurnError::UnaskedCall)]);
    assert_eq!(peer.methods().last(), Some(&"turn/interrupt"));
}

#[test]
fn a_child_that_waits_for_the_output_of_a_call_only_is_told_that_there_is_none() {
    let mut peer = Peer::running_with(with_tools(|_| {}));
    peer.call("c1", "look");
    let params = json!({"threadId": "T", "callId": "c1", "tool": "look", "arguments": {}});
    peer.says(&json!({"id": 5, "method": "item/tool/call", "params": params}).to_string());
    assert!(!peer.methods().contains(&"answer"));
    let step = peer.server.tick(Instant::now() + CALLS_PATIENCE * 2);
    peer.note(step.unwrap());
    assert_eq!(peer.last("answer")["id"], 5);
    peer.completes(
        "failed",
        &json!({"message": "cut", "codexErrorInfo": "other"}),
    );
    assert_eq!(peer.events.last(), Some(&failed(TurnError::ProviderFailed)));
}

#[test]
fn a_schema_that_spans_lines_is_one_line_to_the_child() {
    let mut request = request();
    request.schema = Some(serde_json::from_str("{\n  \"type\":\r\n \"object\"}").unwrap());
    let peer = Peer::running_with(request);
    assert_eq!(
        peer.last("turn/start")["params"]["outputSchema"]["type"],
        "object"
    );
}

#[test]
fn a_login_that_is_revoked_is_missing_until_another_child_has_another() {
    let unauthorized = json!({"message": "m", "codexErrorInfo": "unauthorized"});
    for (account, state) in [
        (
            json!({"account": {"type": "apiKey"}, "requiresOpenaiAuth": true}),
            State::Ready,
        ),
        (
            json!({"account": null, "requiresOpenaiAuth": false}),
            State::Ready,
        ),
        (
            json!({"account": null, "requiresOpenaiAuth": true}),
            State::LoginRequired,
        ),
    ] {
        let mut peer = Peer::running();
        peer.completes("failed", &unauthorized);
        peer.answer("account/read", &account);
        assert_eq!(peer.server.state(), state, "{account}");
        let step = peer.server.tick(Instant::now() + Duration::from_secs(4));
        peer.note(step.unwrap());
        peer.answer(
            "getAuthStatus",
            &json!({"authMethod": "chatgpt", "requiresOpenaiAuth": true}),
        );
        assert_eq!(
            peer.server.state(),
            state,
            "the child claims to have it: {account}"
        );
    }
    let mut peer = Peer::running();
    peer.completes("failed", &unauthorized);
    peer.refuse("account/read", -32603);
    assert_eq!(peer.server.state(), State::Ready);
}
