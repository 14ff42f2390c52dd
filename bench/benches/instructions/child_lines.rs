//! Lines of children -> events: what a delta costs on its way from Codex, a hundred at a time; and one big item.

use std::hint::black_box;

use serde_json::{Value, json};
use sidecar::codex::{Protocol, Reaction, Replay};
use sidecar::turn::TurnRequest;

use crate::chat_bodies::{KIB, model_first};
use crate::requests::{catalogue, chat};
use crate::{Case, Work, case};

pub(crate) const CASES: &[Case] = &[
    case("read-100-app-server-deltas", || {
        read(app_server(), app_server_delta(), LINES)
    }),
    case("read-app-server-item-64KiB", || {
        read(app_server(), app_server_item(), 1)
    }),
    case("read-100-proto-deltas", || {
        read(proto(), proto_delta(), LINES)
    }),
];

const LINES: usize = 100;

const THREAD: &str = "01a20429-8a5b-7172-8687-702dc88d6dd5";
const TURN: &str = "01a20429-8a6e-7c20-9ebf-98812ca35a64";

fn read(mut child: Replay, line: String, times: usize) -> Work {
    Box::new(move || {
        for _ in 0..times {
            let reaction = child.read_line(black_box(&line));
            let events = reaction.expect("the line is the child's").events;
            assert!(!black_box(events).is_empty(), "the turn runs");
        }
    })
}

fn request() -> TurnRequest {
    chat(&catalogue(), &model_first(KIB)).0
}

/// A child with a turn that runs.
fn app_server() -> Replay {
    let (mut child, first) = Replay::start(Protocol::AppServer);
    answer(&mut child, &first);
    assert!(child.is_ready(), "the handshake is over");
    let begun = child.begin(0, request());
    answer(&mut child, &begun);
    child
}

/// Answers our calls until there are none.
fn answer(child: &mut Replay, reaction: &Reaction) {
    for line in &reaction.write {
        let call: Value = serde_json::from_slice(line).expect("we write JSON");
        let result = match call["method"].as_str() {
            Some("getAuthStatus") => json!({"authMethod": "chatgpt", "requiresOpenaiAuth": true}),
            Some("thread/start") => json!({"thread": {"id": THREAD}}),
            Some("turn/start") => json!({"turn": {"id": TURN}}),
            _ => json!({}),
        };
        if call["id"].is_u64() {
            let answer_line = json!({"id": call["id"], "result": result}).to_string();
            let next = child
                .read_line(&answer_line)
                .expect("the answer is the child's");
            answer(child, &next);
        }
    }
}

/// As Codex writes it: the method first.
fn app_server_delta() -> String {
    let params = format!(
        r#"{{"threadId":"{THREAD}","turnId":"{TURN}","itemId":"msg_0","delta":" the word"}}"#
    );
    format!(
        r#"{{"method":"item/agentMessage/delta","params":{params},"emittedAtMs":1795366161030}}"#
    )
}

/// A message whose text came in deltas before, whole.
fn app_server_item() -> String {
    let text = "Some of the model's text. ".repeat(64 * KIB / 26);
    let item = json!({"type": "agentMessage", "id": "msg_0", "text": text, "phase": null});
    let params = json!({"item": item, "threadId": THREAD, "turnId": TURN});
    json!({"method": "item/completed", "params": params}).to_string()
}

/// A child whose turn runs.
fn proto() -> Replay {
    let (mut child, _) = Replay::start(Protocol::Proto);
    let configured = json!({"id": "", "msg": {"type": "session_configured", "session_id": THREAD}});
    child
        .read_line(&configured.to_string())
        .expect("the line is the child's");
    assert!(child.is_ready(), "the session is configured");
    child.begin(0, request());
    child
}

fn proto_delta() -> String {
    json!({"id": "turn", "msg": {"type": "agent_message_delta", "delta": " the word"}}).to_string()
}
