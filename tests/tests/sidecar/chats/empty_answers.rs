//! Turns without text: an empty answer, and a refusal, in every API. Codex drops the text of a refusal, and shows that a
//! message started.

use serde_json::{Value, json};
use tests::http::post;
use tests::sidecar::Sidecar;
use tests::sse;

use super::completions;
use crate::stack::{chat, start, stream};

/// A turn whose last item is the output of a tool.
fn after_an_output(script: &Value) -> Value {
    let steps = script.as_array().cloned();
    let scripts = json!([[{"call": "look"}], steps.unwrap_or_else(|| vec![script.clone()])]);
    let call =
        json!({"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}});
    json!({"messages": [
        {"role": "user", "content": format!("[[model:{scripts}]]")},
        {"role": "assistant", "content": null, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "found"},
    ]})
}

async fn message(sidecar: &Sidecar, script: &Value, more: &Value) -> Value {
    let mut client = sidecar.connect().await;
    let response = client
        .send(chat(script, more))
        .await
        .expect("a response arrives");
    let mut choice = response.json()["choices"][0].take();
    assert_eq!(choice["finish_reason"], "stop", "{response:?}");
    choice["message"].take()
}

async fn response(sidecar: &Sidecar, script: &Value) -> Value {
    let body = json!({"model": "codex-5", "input": format!("[[model:{script}]]")});
    let mut client = sidecar.connect().await;
    let request = post("/v1/responses", body.to_string());
    client
        .send(request)
        .await
        .expect("a response arrives")
        .json()
}

#[tokio::test]
async fn answer_without_text_is_empty_and_not_a_refusal() {
    let (_model, sidecar) = start().await;
    for script in [
        json!({"text": ""}),
        json!({"reasoning": ["Hm."]}),
        json!([{"reasoning": ["Hm."]}, {"text": ""}]),
    ] {
        for more in [json!({}), after_an_output(&script)] {
            let message = message(&sidecar, &script, &more).await;
            assert_eq!(message["content"], "", "{script} {message}");
            assert_eq!(message["refusal"], Value::Null, "{script} {message}");
        }
        let events = stream(&sidecar, script.clone()).await.rest().await.unwrap();
        let (done, chunks) = events.split_last().unwrap();
        assert_eq!(done, "data: [DONE]", "{script}");
        let chunks: Vec<Value> = chunks.iter().map(|chunk| sse::json(chunk)).collect();
        assert_eq!(
            chunks.last().unwrap()["choices"][0]["finish_reason"],
            "stop"
        );
        let delta = |chunk: &Value, field: &str| chunk["choices"][0]["delta"].get(field).is_some();
        assert!(
            !chunks.iter().any(|chunk| delta(chunk, "refusal")),
            "{events:?}"
        );
        let text = completions::ask(&sidecar, &script, &json!({})).await.json();
        assert_eq!(text["choices"][0]["text"], "", "{script}");
        let response = response(&sidecar, &script).await;
        assert_eq!(response["status"], "completed", "{script} {response}");
        let message = response["output"].as_array().unwrap().last().unwrap();
        assert_eq!(
            message["content"][0]["type"], "output_text",
            "{script} {message}"
        );
        assert_eq!(message["content"][0]["text"], "", "{script} {message}");
    }
}

#[tokio::test]
async fn refusal_after_a_text_keeps_the_text() {
    let (_model, sidecar) = start().await;
    let script = json!([{"text": "Let me see."}, {"refusal": "No."}]);
    let message = message(&sidecar, &script, &json!({})).await;
    assert_eq!(message["content"], "Let me see.");
    assert!(message["refusal"].as_str().unwrap().contains("refused"));
    let response = response(&sidecar, &script).await;
    let parts = [0, 1].map(|item| response["output"][item]["content"][0]["type"].clone());
    assert_eq!(parts, ["output_text", "refusal"], "{response}");
}

#[tokio::test]
async fn empty_answer_in_the_history_is_left_out() {
    let (model, sidecar) = start().await;
    let user = json!({"role": "user", "content": "hi"});
    let text = |text: &str| json!([{"type": "output_text", "text": text}]);
    for content in [json!([]), json!(""), text("")] {
        let answer = json!({"role": "assistant", "content": content});
        for (path, field) in [("chat/completions", "messages"), ("responses", "input")] {
            let body = json!({"model": "codex-5", field: [user, answer, user]});
            let request = post(&format!("/v1/{path}"), body.to_string());
            let response = sidecar.connect().await.send(request).await.unwrap();
            assert_eq!(response.status, 200, "{body} {response:?}");
            let sent = model.requests().last().unwrap().body["input"].clone();
            assert_eq!(sent.as_array().unwrap().len(), 2, "{body} {sent}");
            let alone = json!({"model": "codex-5", field: [answer]});
            let request = post(&format!("/v1/{path}"), alone.to_string());
            let rejected = sidecar.connect().await.send(request).await.unwrap();
            assert_eq!(rejected.status, 400, "{alone} {rejected:?}");
            assert_eq!(rejected.json()["error"]["param"], field, "{alone}");
        }
    }
}
