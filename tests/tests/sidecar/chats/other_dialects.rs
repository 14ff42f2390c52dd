//! Fields of another route, which would have no effect: rejected with the name that this route has for them. A body of
//! `/v1/responses` on the chat route, as Cursor sends it, is served.

use http::Request;
use serde_json::{Value, json};
use tests::http::{Body, post};
use tests::sse::{self, Events};

use crate::stack::{assert_error, content, start};

/// A request to `path` with the smallest valid body and `field`.
fn with_field(path: &str, (name, value): (&str, Value)) -> Request<Body> {
    let mut body = json!({"model": "codex-5"});
    match path {
        "/v1/responses" => body["input"] = json!("hi"),
        "/v1/completions" => body["prompt"] = json!("hi"),
        _ => body["messages"] = json!([{"role": "user", "content": "hi"}]),
    }
    body[name] = value;
    post(path, body.to_string())
}

#[tokio::test]
async fn field_of_another_route_is_rejected_with_its_name_on_this_route() {
    let (_model, sidecar) = start().await;
    let format = json!({"type": "json_object"});
    let cases = [
        ("/v1/responses", "messages", json!([]), "`input`"),
        (
            "/v1/responses",
            "max_tokens",
            json!(2),
            "`max_output_tokens`",
        ),
        (
            "/v1/responses",
            "max_completion_tokens",
            json!(2),
            "`max_output_tokens`",
        ),
        (
            "/v1/responses",
            "stop",
            json!(["END"]),
            "/v1/chat/completions",
        ),
        (
            "/v1/responses",
            "response_format",
            format.clone(),
            "`text.format`",
        ),
        ("/v1/responses", "functions", json!([]), "`tools`"),
        (
            "/v1/responses",
            "reasoning_effort",
            json!("low"),
            "`reasoning.effort`",
        ),
        (
            "/v1/chat/completions",
            "max_output_tokens",
            json!(2),
            "`max_completion_tokens`",
        ),
        (
            "/v1/chat/completions",
            "instructions",
            json!("x"),
            "role system",
        ),
        (
            "/v1/chat/completions",
            "previous_response_id",
            json!("resp_x"),
            "/v1/responses",
        ),
        (
            "/v1/chat/completions",
            "text",
            json!({"format": format}),
            "`response_format`",
        ),
        ("/v1/chat/completions", "input", json!("x"), "`messages`"),
        ("/v1/completions", "messages", json!([]), "`prompt`"),
        (
            "/v1/completions",
            "response_format",
            format.clone(),
            "/v1/chat/completions",
        ),
        (
            "/v1/completions",
            "max_completion_tokens",
            json!(2),
            "`max_tokens`",
        ),
    ];
    let mut client = sidecar.connect().await;
    for (path, name, value, advice) in cases {
        let response = client.send(with_field(path, (name, value))).await.unwrap();
        assert_error(&response, 400, "unsupported_parameter");
        let error = response.json()["error"].take();
        assert_eq!(error["param"], name, "{path}");
        assert!(
            error["message"].as_str().unwrap().contains(advice),
            "{path} {error}"
        );
        let absent = client
            .send(with_field(path, (name, Value::Null)))
            .await
            .unwrap();
        assert_eq!(
            absent.status, 200,
            "{path} {name}: null is absent: {absent:?}"
        );
    }
    for (name, value) in [("n", json!(2)), ("modalities", json!(["audio"]))] {
        let request = with_field("/v1/responses", (name, value));
        assert_error(
            &client.send(request).await.unwrap(),
            400,
            "unsupported_value",
        );
    }
}

#[tokio::test]
async fn body_of_responses_on_the_chat_route_is_served_as_a_chat() {
    let (model, sidecar) = start().await;
    let script = json!([{"call": "look", "arguments": {"q": "a"}}]);
    let body = |stream: bool| {
        json!({
            "model": "codex-5",
            "input": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": [{"type": "input_text", "text": format!("[[model:{script}]]")}]},
            ],
            "tools": [{"type": "function", "name": "look", "parameters": {"type": "object"}}],
            "reasoning": {"effort": "low"},
            "store": false, "include": ["reasoning.encrypted_content"], "stream": stream,
        })
    };
    let send = |stream| post("/v1/chat/completions", body(stream).to_string());
    let mut client = sidecar.connect().await;
    let response = client.send(send(false)).await.unwrap();
    assert_eq!(response.status, 200, "{response:?}");
    let choice = response.json()["choices"][0].take();
    assert_eq!(choice["finish_reason"], "tool_calls");
    assert_eq!(
        choice["message"]["tool_calls"][0]["function"]["name"],
        "look"
    );
    let requests = model.requests();
    let sent = &requests[0];
    assert_eq!(sent.conversation()[0]["role"], "developer");
    assert_eq!(sent.body["reasoning"]["effort"], "low");
    assert_eq!(sent.offered_tools()[0]["name"], "look");

    let mut stream = Events::new(client.stream(send(true)).await.unwrap());
    let events = stream.rest().await.unwrap();
    let (done, chunks) = events.split_last().unwrap();
    assert_eq!(done, "data: [DONE]");
    let chunks: Vec<Value> = chunks.iter().map(|chunk| sse::json(chunk)).collect();
    assert!(
        chunks
            .iter()
            .all(|chunk| chunk["object"] == "chat.completion.chunk")
    );
    assert!(chunks.iter().all(|chunk| content(chunk).is_empty()));
    let last = chunks.last().unwrap();
    assert_eq!(
        last["choices"][0]["finish_reason"], "tool_calls",
        "{events:?}"
    );

    let mut wrong = body(false);
    wrong["input"][0]["role"] = json!("king");
    let request = post("/v1/chat/completions", wrong.to_string());
    let rejected = client.send(request).await.unwrap();
    assert_eq!(rejected.json()["error"]["param"], "input[0].role");
    let mut polled = body(false);
    polled["background"] = json!(true);
    polled["store"] = json!(true);
    let request = post("/v1/chat/completions", polled.to_string());
    assert_error(
        &client.send(request).await.unwrap(),
        400,
        "unsupported_parameter",
    );
}
