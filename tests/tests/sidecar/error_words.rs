//! The words of error messages: those that clients search for, and the terms of JSON instead of those of the parser.

use std::time::Duration;

use serde_json::json;
use tests::http::{get, post};
use tests::sidecar::Sidecar;
use tokio::time::{sleep, timeout};

use crate::stack::{SOON, ask, assert_error, start, start_with, stream};

/// Waits until no turn holds the only slot: a slot is free when the child has closed the turn, which may be after the end
/// of its response.
async fn wait_for_the_slot(sidecar: &Sidecar) {
    let mut client = sidecar.connect().await;
    let free = async {
        while client
            .send(get("/__test/conc"))
            .await
            .expect("the sidecar responds")
            .json()["conc"]
            != 0
        {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, free).await.expect("the slot becomes free");
}

#[tokio::test]
async fn full_queue_used_up_plan_and_long_conversation_have_the_words_that_clients_search_for() {
    let small = |options: tests::sidecar::SidecarOptions| {
        options
            .env("PROXY_SSE_MAX_CONCURRENCY", "1")
            .env("PROXY_QUEUE_MAX", "0")
            .env("PROXY_TEST_ENDPOINTS", "true")
            .env("CODEX_MODEL", "gpt-5.5")
    };
    let (model, sidecar) = start_with(small).await;
    let mut first = stream(
        &sidecar,
        json!([{"text": "o", "open": true}, {"hold": "end"}, {"text": "ne"}]),
    )
    .await;
    first.next_json().await;
    let busy = ask(&sidecar, json!({"text": "x"}), json!({})).await;
    assert_error(&busy, 429, "concurrency_exceeded");
    let message = busy.json()["error"]["message"].to_string();
    assert!(message.contains("PROXY_QUEUE_MAX"), "{message}");
    model.release("end");
    first.rest().await.unwrap();
    wait_for_the_slot(&sidecar).await;
    let limit = json!({"status": 429, "error": {"type": "usage_limit_reached"}});
    let quota = ask(&sidecar, limit, json!({})).await;
    assert_error(&quota, 429, "insufficient_quota");
    assert_eq!(quota.json()["error"]["type"], "insufficient_quota");

    let models = sidecar
        .connect()
        .await
        .send(get("/v1/models/gpt-5.5"))
        .await
        .unwrap();
    let window = models.json()["context_window"]
        .as_u64()
        .expect("Codex reports the window");
    let words = format!("maximum context length is {window} tokens");
    let script = json!({"failed": "context_length_exceeded"});
    let more = json!({"model": "gpt-5.5"});
    wait_for_the_slot(&sidecar).await;
    let long = ask(&sidecar, script.clone(), more.clone()).await;
    assert_error(&long, 400, "context_length_exceeded");
    assert!(
        long.json()["error"]["message"]
            .as_str()
            .unwrap()
            .contains(&words),
        "{long:?}"
    );
    let body = json!({"model": "gpt-5.5", "input": format!("[[model:{script}]]")});
    let request = post("/v1/responses", body.to_string());
    wait_for_the_slot(&sidecar).await;
    let long = sidecar.connect().await.send(request).await.unwrap();
    assert_error(&long, 400, "context_length_exceeded");
    assert!(
        long.json()["error"]["message"]
            .as_str()
            .unwrap()
            .contains(&words),
        "{long:?}"
    );
    assert_eq!(long.json()["error"]["param"], "input");
}

#[tokio::test]
async fn wrong_bodies_are_named_in_the_words_of_json_and_of_the_api() {
    let (_model, sidecar) = start().await;
    let mut client = sidecar.connect().await;
    let user = r#"{"role":"user","content":"hi"}"#;
    for (path, body, param) in [
        (
            "chat/completions",
            format!(r#"{{"messages":[{user}],"max_tokens":"9"}}"#),
            "max_tokens",
        ),
        (
            "chat/completions",
            format!(r#"{{"messages":[{user}],"seed":1.5}}"#),
            "seed",
        ),
        (
            "chat/completions",
            format!(r#"{{"messages":[{user}],"stream":true,"stream":true}}"#),
            "stream",
        ),
        (
            "chat/completions",
            format!(r#"{{"messages":[{user}],"tools":[{{"name":7}}]}}"#),
            "tools[0].name",
        ),
        (
            "chat/completions",
            format!(r#"{{"messages":[{user}],"tool_choice":7}}"#),
            "tool_choice",
        ),
        (
            "chat/completions",
            r#"{"messages":[{"content":"x"}]}"#.to_owned(),
            "messages[0].role",
        ),
        (
            "chat/completions",
            r#"{"messages":[{"role":"user","content":"cut \ud83d here"}]}"#.to_owned(),
            "messages[0].content",
        ),
        (
            "chat/completions",
            format!(
                r#"{{"model":"codex-5","messages":[{user}],"tools":[{{"type":"function","function":{{"name":"f","parameters":{{"description":"\ud83d"}}}}}}]}}"#
            ),
            "tools[0].function.parameters",
        ),
        (
            "responses",
            r#"{"model":"codex-5","input":"x","text":{"format":{"type":"json_schema","name":"a","schema":{"title":"\ude00"}}}}"#
                .to_owned(),
            "text.format.schema",
        ),
        (
            "completions",
            r#"{"prompt":"x","logit_bias":[]}"#.to_owned(),
            "logit_bias",
        ),
        (
            "completions",
            r#"{"prompt":"x","prompt":"y"}"#.to_owned(),
            "prompt",
        ),
        (
            "responses",
            r#"{"input":[{"role":"user","content":[{"text":"x"}]}]}"#.to_owned(),
            "input[0].content[0].type",
        ),
        (
            "responses",
            r#"{"input":"x","reasoning":[]}"#.to_owned(),
            "reasoning",
        ),
        (
            "responses",
            r#"{"input":"x","max_output_tokens":-1}"#.to_owned(),
            "max_output_tokens",
        ),
        ("responses", r#"{"input":["x"]}"#.to_owned(), "input[0]"),
        (
            "responses",
            r#"{"input":[{"role":"user","content":"\ude00"}]}"#.to_owned(),
            "input[0].content",
        ),
    ] {
        let response = client
            .send(post(&format!("/v1/{path}"), body.clone()))
            .await
            .unwrap();
        assert_eq!(response.status, 400, "{body} {response:?}");
        let error = response.json()["error"].take();
        assert_eq!(error["param"], param, "{body} {error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(&format!("`{param}`")), "{body} {message}");
        for term in [
            "u64",
            "i64",
            "f64",
            "struct",
            "sequence",
            "map",
            "variant",
            "invalid type",
            "field `",
            " line ",
        ] {
            assert!(!message.contains(term), "{body} {message}");
        }
    }
    let body = json!({"model": "codex-5", "messages": [{"role": "user", "content": "[[model:{\"text\":\"ok\"}]]"}]});
    let marked = format!("\u{feff}{body}");
    let response = client
        .send(post("/v1/chat/completions", marked))
        .await
        .unwrap();
    assert_eq!(
        response.status, 200,
        "a byte order mark is skipped: {response:?}"
    );
}
