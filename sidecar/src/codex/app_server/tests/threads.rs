//! Threads that stay loaded: continued, given up, and ended by the child.

use serde_json::{Value, json};

use super::super::ids::TurnKey;
use super::super::thread::{Continuation, KeptThread};
use super::peer::{KEY, Peer, request};
use crate::turn::{
    Content, ConversationDigest, Event, FinishReason, Item, Message, Outcome, Role, Tool, ToolKind,
    ToolOutput, TurnRequest, Usage, end_of_answer,
};

const NEXT: TurnKey = TurnKey(8);

/// A request with a digest, as the API makes it.
fn digested(mut request: TurnRequest) -> TurnRequest {
    request.digest = ConversationDigest::of(&request);
    request
}

fn with_tool() -> TurnRequest {
    let mut request = request();
    request.tools.offered = vec![Tool {
        name: "look".to_owned(),
        namespace: None,
        kind: ToolKind::Function,
        description: String::new(),
        parameters: serde_json::value::to_raw_value(&json!({"type": "object"})).unwrap(),
    }];
    digested(request)
}

/// The request after `first`, with an output of each call or, without calls, another message.
fn next(first: &TurnRequest, answer: Item, outputs: &[&str]) -> TurnRequest {
    let mut next = first.clone();
    next.conversation.push(answer);
    for call_id in outputs {
        next.conversation.push(Item::ToolOutput(ToolOutput {
            call_id: (*call_id).to_owned(),
            content: vec![Content::Text(format!("output \"{call_id}\""))],
        }));
    }
    if outputs.is_empty() {
        next.conversation.push(message(Role::User, "more"));
    }
    digested(next)
}

fn message(role: Role, text: &str) -> Item {
    Item::Message(Message {
        role,
        content: vec![Content::Text(text.to_owned())],
        phase: None,
    })
}

/// A peer that keeps threads, with a running turn.
fn keeping(request: TurnRequest) -> Peer {
    let mut peer = Peer::ready();
    peer.session.keep_threads();
    let output = peer.session.begin(KEY, request, None);
    peer.note(output);
    peer.respond("thread/start", &json!({"thread": {"id": "T"}}));
    peer.respond("thread/inject_items", &json!({}));
    peer.respond("turn/start", &json!({"turn": {"id": "U"}}));
    peer.events.clear();
    peer
}

/// Sends a line, and returns the thread that was kept.
fn kept(peer: &mut Peer, method: &str, params: Value) -> Option<KeptThread> {
    let mut params = params;
    params["threadId"] = "T".into();
    let line = json!({"method": method, "params": params}).to_string();
    let mut output = peer.session.read_line(&line).unwrap();
    let kept = output.kept.pop();
    peer.note(output);
    kept
}

fn answers(peer: &mut Peer, text: &str) {
    peer.raw_item(&json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}));
}

fn completes(peer: &mut Peer) -> Option<KeptThread> {
    let turn = json!({"turn": {"id": "U", "status": "completed", "error": null}});
    kept(peer, "turn/completed", turn)
}

/// Parks a turn with the calls `c1` and `c2`.
fn park(peer: &mut Peer) -> KeptThread {
    for id in ["c1", "c2"] {
        peer.call(id, "look");
    }
    let usage = json!({"turnId": "U", "usage": {"inputTokens": 11, "outputTokens": 5}});
    kept(peer, "rawResponse/completed", usage).expect("the turn waits")
}

fn asks_for(peer: &mut Peer, number: u8, call_id: &str) {
    let params =
        json!({"threadId": "T", "turnId": "U", "callId": call_id, "tool": "look", "arguments": {}});
    peer.sends(&json!({"id": number, "method": "item/tool/call", "params": params}).to_string());
}

fn continuation(kept: &KeptThread, first_new: usize) -> Continuation {
    Continuation {
        thread: kept.key,
        first_new,
        reasoning: kept.reasoning.clone(),
    }
}

#[test]
fn ended_turn_leaves_its_thread_and_the_next_one_gets_the_new_items_only() {
    let first = digested(request());
    let mut peer = keeping(first.clone());
    answers(&mut peer, "Hello. ");
    let total = json!({"tokenUsage": {"total": {"inputTokens": 10, "outputTokens": 4}}});
    peer.notifies("thread/tokenUsage/updated", total);
    let thread = completes(&mut peer).expect("the thread stays loaded");
    assert_eq!(thread.key, KEY);
    assert!(!peer.methods().contains(&"thread/unsubscribe"));
    let second = next(&first, message(Role::Assistant, "Hello."), &[]);
    let first_new = end_of_answer(&second.conversation, thread.len, &thread.answer).unwrap();
    assert_eq!(first_new, 2);
    // The client of the first turn disconnects.
    let output = peer.session.interrupt(KEY);
    assert!(output.write.is_empty());
    let output = peer
        .session
        .continue_thread(NEXT, second, continuation(&thread, first_new));
    peer.key = NEXT;
    peer.note(output.expect("the thread is there"));
    let items = &peer.last("thread/inject_items")["params"]["items"];
    assert_eq!(items.as_array().unwrap().len(), 1);
    assert_eq!(items[0]["content"][0]["text"], "more");
    peer.respond("thread/inject_items", &json!({}));
    assert_eq!(peer.last("turn/start")["params"]["threadId"], "T");
    peer.respond("turn/start", &json!({"turn": {"id": "V"}}));
    let total =
        json!({"turnId": "V", "tokenUsage": {"total": {"inputTokens": 25, "outputTokens": 10}}});
    let line = json!({"method": "thread/tokenUsage/updated", "params": {"threadId": "T", "tokenUsage": total["tokenUsage"]}});
    peer.session.read_line(&line.to_string()).unwrap();
    let line = json!({"method": "turn/completed", "params": {"threadId": "T", "turn": {"id": "V", "status": "completed", "error": null}}});
    let output = peer.session.read_line(&line.to_string()).unwrap();
    let usage = Usage {
        input_tokens: 15,
        output_tokens: 6,
        ..Usage::default()
    };
    let finished = Outcome::Completed {
        stop: FinishReason::Stop,
        usage: Some(usage),
    };
    assert_eq!(output.events, [(NEXT, Event::Finished(finished))]);
    assert!(
        output.kept.is_empty(),
        "an answer without an item cannot be returned"
    );
}

#[test]
fn outputs_answer_the_calls_of_a_waiting_turn() {
    let first = with_tool();
    let mut peer = keeping(first.clone());
    let thread = park(&mut peer);
    // After the turn has ended for its client, in another order.
    asks_for(&mut peer, 1, "c2");
    asks_for(&mut peer, 2, "c1");
    assert!(!peer.methods().contains(&"turn/interrupt"));
    let later = peer
        .session
        .tick(tokio::time::Instant::now() + std::time::Duration::from_secs(60));
    peer.note(later.unwrap());
    assert!(!peer.methods().contains(&"response"), "the turn waits");
    let outputs = next(&first, message(Role::Assistant, "calls"), &["c1", "c2"]);
    let continued = peer
        .session
        .continue_thread(NEXT, outputs, continuation(&thread, 2));
    let output = continued.expect("both calls are open");
    assert_eq!(output.events, [(NEXT, Event::Heartbeat)]);
    let lines: Vec<Value> = output
        .write
        .iter()
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    let text = |line: &Value| line["result"]["contentItems"][0]["text"].clone();
    assert_eq!(
        [
            (&lines[0]["id"], text(&lines[0])),
            (&lines[1]["id"], text(&lines[1]))
        ],
        [
            (&json!(1), json!("output \"c2\"")),
            (&json!(2), json!("output \"c1\""))
        ]
    );
}

#[test]
fn outputs_that_come_before_the_requests_of_codex_answer_them_later() {
    let first = with_tool();
    let mut peer = keeping(first.clone());
    let thread = park(&mut peer);
    asks_for(&mut peer, 1, "c1");
    let outputs = next(&first, message(Role::Assistant, "calls"), &["c1", "c2"]);
    let continued = peer
        .session
        .continue_thread(NEXT, outputs, continuation(&thread, 2));
    peer.key = NEXT;
    peer.note(continued.expect("the turn waits for both"));
    assert_eq!(peer.last("response")["id"], 1);
    peer.events.clear();
    asks_for(&mut peer, 2, "c2");
    let response = peer.last("response");
    assert_eq!(response["id"], 2);
    let text = &response["result"]["contentItems"][0]["text"];
    assert_eq!(text, "output \"c2\"");
    assert!(peer.events.is_empty(), "the client has the call already");
}

#[test]
fn waiting_turn_is_given_up_by_a_request_with_other_items() {
    let first = with_tool();
    let mut peer = keeping(first.clone());
    let thread = park(&mut peer);
    let outputs = next(
        &first,
        message(Role::Assistant, "calls"),
        &["c1", "unknown"],
    );
    let refused = peer
        .session
        .continue_thread(NEXT, outputs, continuation(&thread, 2));
    let request = refused.expect_err("the turn has no such call");
    assert_eq!(request.conversation.len(), 4, "the request is whole");
    let output = peer.session.begin(NEXT, request, None);
    peer.note(output);
    assert!(peer.methods().contains(&"turn/interrupt"));
    assert_eq!(peer.methods().last(), Some(&"thread/start"));
}

#[test]
fn thread_that_is_given_up_is_ended_in_codex() {
    let mut peer = keeping(digested(request()));
    answers(&mut peer, "Hello.");
    let thread = completes(&mut peer).unwrap();
    let output = peer.session.give_up(thread.key);
    peer.note(output);
    assert_eq!(peer.methods().last(), Some(&"thread/unsubscribe"));
    peer.respond("thread/unsubscribe", &json!({}));
    let gone = peer
        .session
        .continue_thread(NEXT, digested(request()), continuation(&thread, 1));
    assert!(gone.is_err());

    let mut peer = keeping(with_tool());
    let thread = park(&mut peer);
    let output = peer.session.give_up(thread.key);
    peer.note(output);
    assert_eq!(peer.methods().last(), Some(&"turn/interrupt"));
    peer.completes("interrupted", &Value::Null);
    assert_eq!(peer.methods().last(), Some(&"thread/unsubscribe"));
}

#[test]
fn turn_that_fails_while_it_waits_is_closed() {
    let mut peer = keeping(with_tool());
    let thread = park(&mut peer);
    let error = json!({"message": "gone", "codexErrorInfo": "other"});
    peer.completes("failed", &error);
    assert_eq!(peer.methods().last(), Some(&"thread/unsubscribe"));
    peer.respond("thread/unsubscribe", &json!({}));
    assert_eq!(peer.closed, 1);
    assert!(
        peer.session
            .continue_thread(NEXT, with_tool(), continuation(&thread, 1))
            .is_err()
    );
}

#[test]
fn answers_that_a_client_cannot_return_leave_no_thread() {
    let unknown = json!({"type": "web_search_call", "id": "w"});
    let two_parts = json!({"type": "message", "role": "assistant", "content": [
        {"type": "output_text", "text": "a"}, {"type": "output_text", "text": "b"}]});
    for item in [unknown, two_parts] {
        let mut peer = keeping(digested(request()));
        answers(&mut peer, "Hello.");
        peer.raw_item(&item);
        assert!(completes(&mut peer).is_none(), "{item}");
        assert_eq!(peer.methods().last(), Some(&"thread/unsubscribe"));
    }
    // Nothing that identifies the conversation.
    let mut peer = keeping(request());
    answers(&mut peer, "Hello.");
    assert!(completes(&mut peer).is_none());
}
