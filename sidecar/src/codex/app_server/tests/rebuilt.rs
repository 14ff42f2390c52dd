//! Threads that are rebuilt from a rollout file: the calls, and the records of the file in place of raw events.

use serde_json::{Value, json};

use super::super::wire::RebuiltThread;
use super::peer::{KEY, Peer, request};
use super::tool_calls::with_tools;
use crate::turn::{Event, FinishReason, Outcome, ReasoningItem, TurnRequest};

fn rebuilt() -> RebuiltThread {
    RebuiltThread {
        id: "T".to_owned(),
        session: "S".to_owned(),
        path: "/home/rollout.jsonl".into(),
    }
}

/// Begins a turn on a rebuilt thread.
fn begin(request: TurnRequest) -> Peer {
    let mut peer = Peer::ready();
    let output = peer.session.begin_rebuilt(KEY, request, rebuilt());
    peer.note(output);
    peer
}

/// Responds to the calls of a rebuilt thread until its turn runs.
fn run(peer: &mut Peer) {
    peer.respond(
        "thread/resume",
        &json!({"thread": {"id": "T", "sessionId": "S"}}),
    );
    peer.respond("thread/inject_items", &json!({}));
    peer.respond("turn/start", &json!({"turn": {"id": "U"}}));
    peer.events.clear();
}

fn running_with_tools() -> Peer {
    let mut peer = begin(with_tools(|_| {}));
    peer.respond("thread/start", &json!({"thread": {"id": "C"}}));
    run(&mut peer);
    peer
}

fn item(mut item: Value) -> String {
    item["internal_chat_message_metadata_passthrough"] = json!({"turn_id": "U"});
    format!("{}\n", json!({"type": "response_item", "payload": item}))
}

fn call(call_id: &str) -> String {
    item(
        json!({"type": "function_call", "id": "fc", "call_id": call_id, "name": "look", "arguments": "{ }"}),
    )
}

fn message(id: &str) -> String {
    item(json!({"type": "message", "id": id, "role": "assistant", "content": []}))
}

fn end_of_response() -> String {
    let usage = json!({"input_tokens": 7, "output_tokens": 2});
    let record = json!({"type": "token_usage_record", "payload": {"turn_id": "U", "usage": usage}});
    format!("{record}\n")
}

/// Asks for the output of a call.
fn ask(peer: &mut Peer, call_id: &str) {
    let params = json!({"threadId": "T", "callId": call_id, "tool": "look", "arguments": {}});
    let asked = json!({"id": call_id, "method": "item/tool/call", "params": params});
    peer.sends(&asked.to_string());
}

fn read(peer: &mut Peer, lines: &[String]) {
    let output = peer.session.read_rollout(KEY, &lines.concat()).unwrap();
    peer.note(output);
}

fn is_tool_call(event: &Event) -> bool {
    matches!(event, Event::ToolCall(call) if call.arguments == "{ }")
}

fn finish_reason(peer: &Peer) -> Option<FinishReason> {
    peer.events.iter().find_map(|event| match event {
        Event::Finished(Outcome::Completed { stop, .. }) => Some(*stop),
        _ => None,
    })
}

#[test]
fn thread_is_resumed_from_its_file_and_deleted_at_the_end() {
    let mut peer = begin(request());
    let resume = &peer.last("thread/resume")["params"];
    assert_eq!(resume["threadId"], "T");
    assert_eq!(resume["path"], "/home/rollout.jsonl");
    assert_eq!(resume["baseInstructions"], "");
    run(&mut peer);
    assert!(!peer.methods().contains(&"thread/start"), "without tools");
    peer.completes("completed", &json!(null));
    assert_eq!(peer.last("thread/delete")["params"]["threadId"], "T");
    assert!(!peer.methods().contains(&"thread/unsubscribe"));
    assert_eq!(peer.closed, 0);
    peer.respond("thread/delete", &json!({}));
    assert_eq!(peer.closed, 1);
}

#[test]
fn thread_that_codex_does_not_delete_is_unsubscribed() {
    let mut peer = begin(request());
    run(&mut peer);
    peer.completes("completed", &json!(null));
    peer.reject("thread/delete", -32600);
    assert_eq!(peer.closed, 0);
    peer.respond("thread/unsubscribe", &json!({}));
    assert_eq!(peer.closed, 1);
}

#[test]
fn tools_are_checked_by_a_thread_that_is_given_up_once() {
    let mut peer = begin(with_tools(|_| {}));
    assert!(!peer.methods().contains(&"thread/resume"));
    peer.respond("thread/start", &json!({"thread": {"id": "C"}}));
    assert_eq!(peer.last("thread/unsubscribe")["params"]["threadId"], "C");
    run(&mut peer);
    peer.completes("completed", &json!(null));
    peer.respond("thread/delete", &json!({}));
    peer.sent.clear();
    let output = peer
        .session
        .begin_rebuilt(KEY, with_tools(|_| {}), rebuilt());
    peer.note(output);
    assert_eq!(peer.methods(), ["thread/resume"], "the same tools");
}

#[test]
fn rejected_tools_fail_the_turn_as_they_do_on_a_new_thread() {
    let mut peer = begin(with_tools(|_| {}));
    peer.reject("thread/start", -32600);
    let failed = Event::Finished(Outcome::Failed(crate::turn::TurnError::Protocol));
    let is_failed = |event: &Event| matches!(event, Event::Finished(Outcome::Failed(_)));
    assert!(peer.events.last().is_some_and(is_failed), "{failed:?}");
    assert!(!peer.methods().contains(&"thread/resume"));
}

#[test]
fn turn_whose_thread_codex_does_not_rebuild_gets_a_new_one() {
    for response in [
        json!({"error": {"code": -32600, "message": "no rollout found"}}),
        json!({"result": {"thread": {"id": "X", "sessionId": "S"}}}),
        json!({"result": {"thread": {"id": "T", "sessionId": "T"}}}),
    ] {
        let mut peer = begin(request());
        let mut line = response.clone();
        line["id"] = peer.last("thread/resume")["id"].clone();
        peer.sends(&line.to_string());
        peer.respond("thread/start", &json!({"thread": {"id": "N"}}));
        let inject = &peer.last("thread/inject_items")["params"];
        assert_eq!(inject["threadId"], "N", "{response}");
        assert_eq!(inject["items"].as_array().unwrap().len(), 1, "{response}");
    }
}

#[test]
fn cancelled_turn_resumes_no_thread_after_the_check_of_its_tools() {
    let mut peer = begin(with_tools(|_| {}));
    let output = peer.session.interrupt(KEY);
    peer.note(output);
    peer.respond("thread/start", &json!({"thread": {"id": "C"}}));
    peer.respond("thread/unsubscribe", &json!({}));
    assert_eq!(peer.closed, 1);
    assert!(!peer.methods().contains(&"thread/resume"));
}

#[test]
fn records_of_the_file_finish_a_turn_with_calls() {
    let mut peer = running_with_tools();
    let reasoning =
        json!({"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "e"});
    read(&mut peer, &[item(reasoning), call("c1"), call("c2")]);
    ask(&mut peer, "c1");
    read(&mut peer, &[end_of_response()]);
    assert_eq!(finish_reason(&peer), None, "the outputs need both requests");
    ask(&mut peer, "c2");
    let [
        Event::ReasoningItem(ReasoningItem {
            encrypted_content, ..
        }),
        first,
        second,
        _end,
    ] = peer.events.as_slice()
    else {
        panic!("{:?}", peer.events);
    };
    assert_eq!(encrypted_content.as_deref(), Some("e"));
    assert!(
        is_tool_call(first) && is_tool_call(second),
        "the text as the model wrote it"
    );
    assert_eq!(finish_reason(&peer), Some(FinishReason::ToolCalls));
}

#[test]
fn records_wait_for_the_text_that_comes_before_them() {
    let mut peer = running_with_tools();
    read(
        &mut peer,
        &[message("msg_0"), call("c1"), end_of_response()],
    );
    assert!(peer.events.is_empty(), "{:?}", peer.events);
    peer.message_starts();
    peer.delta("text");
    assert!(!peer.events.iter().any(is_tool_call));
    peer.message_ends("text");
    ask(&mut peer, "c1");
    let place = |wanted: &dyn Fn(&Event) -> bool| peer.events.iter().position(wanted);
    let text = place(&|event| *event == Event::Text("text".to_owned()));
    assert!(
        text.is_some() && text < place(&is_tool_call),
        "{:?}",
        peer.events
    );
    assert_eq!(finish_reason(&peer), Some(FinishReason::ToolCalls));
}

#[test]
fn calls_that_codex_answers_itself_are_not_waited_for() {
    let mut peer = running_with_tools();
    let unknown =
        json!({"type": "function_call", "call_id": "c1", "name": "unknown", "arguments": "{ }"});
    let invalid =
        json!({"type": "function_call", "call_id": "c2", "name": "look", "arguments": "no JSON"});
    read(
        &mut peer,
        &[item(unknown), item(invalid), end_of_response()],
    );
    assert_eq!(finish_reason(&peer), Some(FinishReason::ToolCalls));
}

#[test]
fn end_of_the_turn_does_not_wait_for_notifications() {
    let mut peer = running_with_tools();
    // A refusal, which Codex announces and never completes.
    read(
        &mut peer,
        &[message("msg_0"), call("c1"), end_of_response()],
    );
    let usage = json!({"inputTokens": 7, "outputTokens": 2});
    peer.notifies(
        "thread/tokenUsage/updated",
        json!({"tokenUsage": {"total": usage}}),
    );
    assert_eq!(finish_reason(&peer), Some(FinishReason::ToolCalls));
}

#[test]
fn call_that_its_request_has_announced_is_sent_once() {
    let mut peer = running_with_tools();
    ask(&mut peer, "c1");
    assert_eq!(peer.session.awaited_rollouts(), [KEY]);
    read(&mut peer, &[call("c1"), end_of_response()]);
    let calls = peer
        .events
        .iter()
        .filter(|event| matches!(event, Event::ToolCall(_)));
    assert_eq!(calls.count(), 1);
    assert_eq!(finish_reason(&peer), Some(FinishReason::ToolCalls));
    assert!(peer.session.awaited_rollouts().is_empty());
}

#[test]
fn only_lines_about_rebuilt_threads_make_the_file_worth_reading() {
    let peer = running_with_tools();
    let before = |line: &str| peer.session.rollout_before(line);
    let about = |method: &str, thread: &str| {
        json!({"method": method, "params": {"threadId": thread}}).to_string()
    };
    assert_eq!(before(&about("turn/completed", "T")), Some(KEY));
    assert_eq!(before(&about("item/tool/call", "T")), Some(KEY));
    assert_eq!(before(&about("item/agentMessage/delta", "T")), None);
    assert_eq!(before(&about("turn/completed", "other")), None);
    assert_eq!(before("{}"), None);
}
