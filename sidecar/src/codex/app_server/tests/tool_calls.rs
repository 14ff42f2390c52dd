//! Tool calls: those that finish a turn, those that fail it, and those that are not the client's.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::session::*;
use super::peer::{Peer, failed, request};
use crate::turn::{
    Event, FinishReason, Outcome, Profile, ReasoningItem, Tool, ToolCall, ToolKind, Tools,
    TurnError, TurnRequest, Usage,
};

pub(super) fn with_tools(change: impl FnOnce(&mut Tools)) -> TurnRequest {
    let mut request = request();
    request.tools.offered = ["look", "go"]
        .map(|name| Tool {
            name: name.to_owned(),
            namespace: None,
            kind: ToolKind::Function,
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
        namespace: None,
        kind: ToolKind::Function,
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
    assert_eq!(peer.events, [failed(TurnError::UnexpectedToolCall)]);
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
