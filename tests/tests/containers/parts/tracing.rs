//! `deploy/tracing` on top of the demo: the spans of Envoy, sidecar and turn reach the collector as one trace.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::client::ApiClient;
use crate::engine::{SHOW, assert_confined};
use crate::stack::{Stack, TRACING};

/// Start of a line of the collector about spans.
const SPANS: &str = "Traces";

pub(crate) fn spans_of_a_chat_reach_the_collector(stack: &Stack<'_>) {
    stack.choose("demo", &[TRACING]);
    stack.compose(&["up", "--detach"]);
    let client = stack.client();
    client.wait_for_chat();
    stack.wait_for_log("collector", SPANS);
    if stack.has_standins {
        client.wait_for(|| client.chat("Hi."), |_| has_whole_trace(stack));
        assert_confined("collector", &stack.exec("collector", SHOW));
    }
    chats_do_not_need_the_collector(stack, &client);
}

/// A collector that stopped costs its spans only, and gets those of later requests after its return.
fn chats_do_not_need_the_collector(stack: &Stack<'_>, client: &ApiClient) {
    stack.compose(&["stop", "collector"]);
    assert_eq!(client.chat("Hi.").status, 200);
    stack.compose(&["rm", "--force", "collector"]);
    stack.compose(&["up", "--detach"]);
    client.wait_for_chat();
    stack.wait_for_log("collector", SPANS);
}

/// Whether the stand-in has printed the three spans of a chat: Envoy's, below it the sidecar's, and below that the turn's.
fn has_whole_trace(stack: &Stack<'_>) -> bool {
    let log = stack.compose(&["logs", "--no-log-prefix", "collector"]);
    let lines = log.lines().filter_map(|line| line.strip_prefix(SPANS));
    let spans: Vec<Value> = lines
        .map(|line| serde_json::from_str(line).expect("the stand-in prints JSON"))
        .collect();
    let by_id: BTreeMap<_, _> = spans
        .iter()
        .map(|span| (span["id"].as_str(), span))
        .collect();
    let above = |span: &Value| by_id.get(&span["parent"].as_str()).copied();
    spans.iter().any(|turn| {
        let request = above(turn).filter(|request| request["service"] == "codex-edge");
        let envoy = request.and_then(above);
        turn["name"] == "chat codex-5"
            && envoy.is_some_and(|envoy| {
                envoy["service"] == "codex-edge-envoy" && envoy["trace"] == turn["trace"]
            })
    })
}
