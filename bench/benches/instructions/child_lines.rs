//! Conversion of the lines that a Codex child writes into turn events: 100 deltas per count, and one large item.

use std::hint::black_box;

use gungraun::{library_benchmark, library_benchmark_group};
use serde_json::{Value, json};
use sidecar::codex::{ChildHarness, HarnessOutput, Protocol};
use sidecar::turn::TurnRequest;

use crate::chat_bodies::{KIB, model_first};
use crate::requests::{catalogue, chat};
use crate::work::{Work, call};

#[library_benchmark(setup = call)]
#[bench::app_server(read(app_server(), app_server_delta(), LINES))]
#[bench::proto(read(proto(), proto_delta(), LINES))]
fn read_100_deltas(work: Work) -> Work {
    call(work)
}

#[library_benchmark(setup = call)]
#[bench::app_server_64_kib(read(app_server(), app_server_item(), 1))]
fn read_item(work: Work) -> Work {
    call(work)
}

library_benchmark_group!(name = reading, benchmarks = [read_100_deltas, read_item]);

const LINES: usize = 100;

const THREAD: &str = "01a20429-8a5b-7172-8687-702dc88d6dd5";
const TURN: &str = "01a20429-8a6e-7c20-9ebf-98812ca35a64";

fn read(mut child: ChildHarness, line: String, times: usize) -> Work {
    Box::new(move || {
        for _ in 0..times {
            let output = child.read_line(black_box(&line));
            let events = output.expect("the line follows the protocol").events;
            assert!(!black_box(events).is_empty(), "the turn is running");
        }
    })
}

fn request() -> TurnRequest {
    chat(&catalogue(), &model_first(KIB)).0
}

/// An app-server session with a running turn.
fn app_server() -> ChildHarness {
    let (mut child, handshake) = ChildHarness::start(Protocol::AppServer);
    respond(&mut child, &handshake);
    assert!(child.is_ready(), "the handshake is complete");
    let begun = child.begin(0, request());
    respond(&mut child, &begun);
    child
}

/// Responds to the sidecar's calls, and to the calls that follow from each response, until no call is left.
fn respond(child: &mut ChildHarness, output: &HarnessOutput) {
    for line in &output.write {
        let call: Value = serde_json::from_slice(line).expect("the sidecar writes JSON");
        let result = match call["method"].as_str() {
            Some("getAuthStatus") => json!({"authMethod": "chatgpt", "requiresOpenaiAuth": true}),
            Some("thread/start") => json!({"thread": {"id": THREAD}}),
            Some("turn/start") => json!({"turn": {"id": TURN}}),
            _ => json!({}),
        };
        // A line without an id is a notification, which has no response.
        if call["id"].is_u64() {
            let response = json!({"id": call["id"], "result": result}).to_string();
            let next = child
                .read_line(&response)
                .expect("the response follows the protocol");
            respond(child, &next);
        }
    }
}

/// A delta in the field order of Codex, with `method` first.
fn app_server_delta() -> String {
    let params = format!(
        r#"{{"threadId":"{THREAD}","turnId":"{TURN}","itemId":"msg_0","delta":" the word"}}"#
    );
    format!(
        r#"{{"method":"item/agentMessage/delta","params":{params},"emittedAtMs":1795366161030}}"#
    )
}

/// A completed message of 64 KiB, with the text that the deltas before it had.
fn app_server_item() -> String {
    let text = "Some of the model's text. ".repeat(64 * KIB / 26);
    let item = json!({"type": "agentMessage", "id": "msg_0", "text": text, "phase": null});
    let params = json!({"item": item, "threadId": THREAD, "turnId": TURN});
    json!({"method": "item/completed", "params": params}).to_string()
}

/// A session of the `proto` protocol with a running turn.
fn proto() -> ChildHarness {
    let (mut child, _) = ChildHarness::start(Protocol::Proto);
    let configured = json!({"id": "", "msg": {"type": "session_configured", "session_id": THREAD}});
    child
        .read_line(&configured.to_string())
        .expect("the line follows the protocol");
    assert!(child.is_ready(), "the session is configured");
    child.begin(0, request());
    child
}

fn proto_delta() -> String {
    json!({"id": "turn", "msg": {"type": "agent_message_delta", "delta": " the word"}}).to_string()
}
