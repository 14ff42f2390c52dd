//! Answers: one message, the events of a stream, and the reasons for their end.

use serde_json::{Value, json};

use super::fixture::{accumulate, ask, request, send, stream, tool, types};
use crate::stack::start;

#[tokio::test]
async fn stream_adds_up_to_the_message() {
    let (_model, sidecar) = start().await;
    let usage = json!({"usage": {"input_tokens": 50, "cached_tokens": 20, "output_tokens": 9, "reasoning_tokens": 4}});
    let call = json!({"call": "look", "call_id": "c1", "arguments": "{\"city\": \"Oslo\"}"});
    for (script, more) in [
        (
            json!([{"text": "Hello there.", "delta_chars": 3}, usage]),
            json!({}),
        ),
        (
            json!([{"reasoning": ["Hm.", "So."], "encrypted_content": "gAAA", "delta_chars": 2}, {"text": "Yes."}, usage]),
            json!({"thinking": {"type": "enabled", "budget_tokens": 2048}}),
        ),
        (
            json!([{"reasoning": [], "encrypted_content": "gAAA"}, {"text": "Yes."}, usage]),
            json!({"thinking": {"type": "adaptive", "display": "omitted"}}),
        ),
        (
            json!([{"text": "I look."}, call, usage]),
            json!({"tools": [tool("look")]}),
        ),
        (
            json!([{"text": "One END two"}, usage]),
            json!({"stop_sequences": ["STOP", "END"]}),
        ),
        (
            json!([{"chars": 400, "delta_chars": 9}]),
            json!({"max_tokens": 5}),
        ),
        (json!([{"refusal": "No."}, usage]), json!({})),
        (json!([usage]), json!({})),
    ] {
        let message = ask(&sidecar, script.clone(), more.clone()).await;
        let events = stream(&sidecar, script.clone(), more).await;
        let mut streamed = accumulate(&events);
        streamed["id"] = message["id"].clone();
        let is_cut = matches!(
            message["stop_reason"].as_str(),
            Some("stop_sequence" | "max_tokens")
        );
        if is_cut {
            // Codex reports no usage for an interrupted turn, and the estimates count the same.
            assert_eq!(streamed["usage"], message["usage"], "{script}");
        }
        assert_eq!(streamed, message, "{script}");
        let order = types(&events);
        assert_eq!(order.first(), Some(&"message_start"), "{order:?}");
        assert_eq!(order[order.len() - 2..], ["message_delta", "message_stop"]);
    }
}

#[tokio::test]
async fn answer_has_the_fields_of_the_api() {
    let (_model, sidecar) = start().await;
    let script = json!([{"text": "Hi."}, {"usage": {"input_tokens": 50, "cached_tokens": 20, "output_tokens": 9, "reasoning_tokens": 4}}]);
    let response = send(&sidecar, request(&script, &json!({"model": "CODEX-5"}))).await;
    let mut message = response.json();
    assert!(message["id"].as_str().unwrap().starts_with("msg_"));
    message["id"] = json!("ID");
    let usage = json!({"input_tokens": 30, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 20, "output_tokens": 9, "output_tokens_details": {"thinking_tokens": 4}, "cache_creation": null, "inference_geo": null, "server_tool_use": null, "service_tier": null});
    let expected = json!({
        "id": "ID", "type": "message", "role": "assistant", "model": "codex-5",
        "content": [{"type": "text", "text": "Hi.", "citations": null}],
        "stop_reason": "end_turn", "stop_sequence": null, "stop_details": null,
        "usage": usage, "container": null,
    });
    assert_eq!(message, expected);
}

#[tokio::test]
async fn stop_reason_tells_the_end() {
    let (_model, sidecar) = start().await;
    for (script, more, reason, sequence, text) in [
        (
            json!({"text": "One END two"}),
            json!({"stop_sequences": ["STOP", "END"]}),
            "stop_sequence",
            json!("END"),
            "One ",
        ),
        (
            json!({"chars": 400}),
            json!({"max_tokens": 5}),
            "max_tokens",
            Value::Null,
            "",
        ),
        (
            json!({"incomplete": "max_output_tokens"}),
            json!({}),
            "max_tokens",
            Value::Null,
            "",
        ),
        (
            json!({"refusal": "No."}),
            json!({}),
            "refusal",
            Value::Null,
            "",
        ),
    ] {
        let message = ask(&sidecar, script, more).await;
        assert_eq!(message["stop_reason"], reason, "{message}");
        assert_eq!(message["stop_sequence"], sequence, "{message}");
        if !text.is_empty() {
            assert_eq!(message["content"][0]["text"], text);
        }
    }
}

#[tokio::test]
async fn silent_stream_has_pings() {
    let (model, sidecar) = crate::stack::start_with(|options| {
        options
            .env("PROXY_SSE_KEEPALIVE_MS", "50")
            .env("PROXY_STREAM_HEAD_MS", "0")
    })
    .await;
    let script = json!([{"text": "a", "open": true}, {"hold": "more"}, {"text": "b"}]);
    let mut client = sidecar.connect().await;
    let response = client
        .stream(request(&script, &json!({"stream": true})))
        .await;
    let mut events = tests::sse::Events::new(response.expect("a response arrives"));
    let ping = json!({"type": "ping"});
    while super::fixture::event(&events.next().await.unwrap().unwrap()) != ping {}
    model.release("more");
    let rest = events.rest().await.expect("the stream is not cut off");
    assert!(rest.iter().all(|frame| !frame.starts_with(':')), "{rest:?}");
}
