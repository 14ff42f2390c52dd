//! A legacy completion from request to response: one turn, with text in place of messages.
//! OpenAI API reference, "Completions (legacy)".

use http::{Method, Request};
use serde_json::{Value, json};
use tests::http::{Body, BufferedResponse, post};
use tests::sidecar::Sidecar;
use tests::sse::{self, Events};
use tokio::time::timeout;

use crate::stack::{SOON, assert_error, start, start_with};

/// A request with a prompt that makes the model play `script`.
fn complete(script: &Value, more: &Value) -> Request<Body> {
    let mut body = json!({"model": "codex-5", "prompt": prompt(script)});
    let (Some(fields), Some(more)) = (body.as_object_mut(), more.as_object()) else {
        unreachable!("both are objects");
    };
    fields.extend(more.clone());
    post("/v1/completions", body.to_string())
}

fn prompt(script: &Value) -> String {
    format!("[[model:{script}]]")
}

/// Sends a request and returns the buffered response.
pub(crate) async fn ask(sidecar: &Sidecar, script: &Value, more: &Value) -> BufferedResponse {
    let mut client = sidecar.connect().await;
    let response = client.send(complete(script, more)).await;
    response.expect("a response arrives")
}

/// Sends a request and returns all events of the streamed response.
pub(crate) async fn stream(sidecar: &Sidecar, script: &Value, more: &Value) -> Vec<String> {
    let mut client = sidecar.connect().await;
    let stream = client.stream(complete(script, more)).await;
    let events = Events::new(stream.expect("a response arrives"))
        .rest()
        .await;
    events.expect("the stream ends without a transport error")
}

/// The non-empty texts of a stream's chunks.
pub(crate) fn texts(events: &[String]) -> Vec<String> {
    let chunks = events.iter().filter(|event| event.starts_with("data: {"));
    let texts = chunks
        .filter_map(|chunk| Some(sse::json(chunk)["choices"][0]["text"].as_str()?.to_owned()));
    texts.filter(|text| !text.is_empty()).collect()
}

#[tokio::test]
async fn completion_is_text_and_its_prompt_one_user_message() {
    let (model, sidecar) = start().await;
    let usage =
        json!({"input_tokens": 12, "cached_tokens": 10, "output_tokens": 5, "reasoning_tokens": 2});
    let script = json!([{"text": "Once"}, {"text": "upon"}, {"usage": usage}]);
    let response = ask(&sidecar, &script, &json!({"model": "CODEX-5-high"})).await;
    let mut body = response.json();
    assert!(body["id"].as_str().unwrap().starts_with("cmpl-"), "{body}");
    assert!(body["created"].as_u64() > Some(1_700_000_000), "{body}");
    (body["id"], body["created"]) = (json!(""), json!(0));
    let expected = json!({
        "id": "", "object": "text_completion", "created": 0, "model": "codex-5-high",
        "choices": [{"text": "Once\n\nupon", "index": 0, "logprobs": null, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17,
            "prompt_tokens_details": {"cached_tokens": 10},
            "completion_tokens_details": {"reasoning_tokens": 2},
        },
    });
    assert_eq!(body, expected);
    let sent = &model.requests()[0].body;
    assert_eq!(sent["reasoning"]["effort"], "high");
    let items = sent["input"].as_array().unwrap();
    assert_eq!(items.len(), 1, "{sent}");
    assert_eq!(items[0]["role"], "user");
    assert_eq!(items[0]["content"][0]["text"], prompt(&script));
}

#[tokio::test]
async fn stream_has_each_delta_one_finish_requested_usage_and_done() {
    let (_model, sidecar) = start().await;
    let script = json!({"text": "Héllo wörld", "delta_chars": 4});
    for (more, has_usage) in [
        (json!({"stream": true}), false),
        (json!({"stream": true, "include_usage": true}), true),
        (
            json!({"stream": true, "stream_options": {"include_usage": true}}),
            true,
        ),
    ] {
        let events = stream(&sidecar, &script, &more).await;
        assert_eq!(texts(&events), ["Héll", "o wö", "rld"]);
        let (done, chunks) = events.split_last().unwrap();
        assert_eq!(done, "data: [DONE]");
        let chunks: Vec<Value> = chunks.iter().map(|chunk| sse::json(chunk)).collect();
        let finish: Vec<_> = chunks
            .iter()
            .filter_map(|chunk| chunk["choices"][0]["finish_reason"].as_str())
            .collect();
        assert_eq!(finish, ["stop"]);
        for chunk in &chunks {
            assert_eq!(chunk["object"], "text_completion");
            assert_eq!(
                (&chunk["id"], &chunk["created"]),
                (&chunks[0]["id"], &chunks[0]["created"])
            );
        }
        let usage: Vec<_> = chunks
            .iter()
            .map(|chunk| &chunk["usage"])
            .filter(|usage| !usage.is_null())
            .collect();
        assert_eq!(usage.len(), usize::from(has_usage), "{chunks:?}");
        if has_usage {
            assert_eq!(chunks.last().unwrap()["choices"], json!([]));
        }
    }
}

#[tokio::test]
async fn echo_puts_the_untruncated_prompt_first() {
    let (_model, sidecar) = start().await;
    let script = json!({"text": "one END two"});
    let prompt = prompt(&script);
    let more = json!({"echo": true, "stop": "END", "max_tokens": 2});
    let response = ask(&sidecar, &script, &more).await.json();
    assert_eq!(response["choices"][0]["text"], format!("{prompt}one "));
    assert_eq!(response["choices"][0]["finish_reason"], "stop");
    assert_eq!(
        response["usage"]["completion_tokens"], 1,
        "an echoed prompt does not count as completion tokens: {response}"
    );
    let more = json!({"echo": true, "stop": "END", "stream": true});
    let events = stream(&sidecar, &script, &more).await;
    assert_eq!(texts(&events)[0], prompt);
    assert_eq!(texts(&events).concat(), format!("{prompt}one "));
}

#[tokio::test]
async fn max_tokens_ends_the_text_and_has_no_default() {
    let (_model, sidecar) = start().await;
    let long = "word ".repeat(40);
    let script = json!({"text": long});
    let whole = ask(&sidecar, &script, &json!({})).await.json();
    assert_eq!(
        whole["choices"][0]["text"], long,
        "OpenAI's default limit of 16 tokens does not apply"
    );
    let cut = ask(&sidecar, &script, &json!({"max_tokens": 2}))
        .await
        .json();
    assert_eq!(cut["choices"][0]["text"], "word wor");
    assert_eq!(cut["choices"][0]["finish_reason"], "length");
}

#[tokio::test]
async fn unsupported_fields_are_rejected_or_listed_as_ignored() {
    let (model, sidecar) = start().await;
    let script = json!({"text": "Hi."});
    for field in [
        json!({"n": 2}),
        json!({"best_of": 2}),
        json!({"logprobs": 1}),
        json!({"suffix": "."}),
        json!({"prompt": [1, 2]}),
    ] {
        let response = ask(&sidecar, &script, &field).await;
        assert_error(&response, 400, "unsupported_value");
        let param = field.as_object().unwrap().keys().next().unwrap();
        assert_eq!(response.json()["error"]["param"], param.as_str());
    }
    assert!(model.requests().is_empty());
    let more = json!({"temperature": 0.2, "seed": 1, "prompt": ["Say", prompt(&script)]});
    let response = ask(&sidecar, &script, &more).await;
    assert_eq!(
        response.header("x-codex-edge-ignored"),
        "prompt[], seed, temperature"
    );
    let sent = &model.requests()[0].body["input"][0]["content"][0]["text"];
    assert_eq!(*sent, format!("Say\n{}", prompt(&script)));
}

#[tokio::test]
async fn prompt_beyond_the_context_window_is_an_error_of_param_prompt() {
    let (_model, sidecar) = start().await;
    let script = json!([{"text": "par"}, {"failed": "context_length_exceeded"}]);
    let response = ask(&sidecar, &script, &json!({})).await;
    assert_error(&response, 400, "context_length_exceeded");
    assert_eq!(response.json()["error"]["param"], "prompt");
    let events = stream(&sidecar, &script, &json!({"stream": true})).await;
    let last = sse::json(events.last().unwrap());
    assert_eq!(last["error"]["param"], "prompt", "{events:?}");
    let is_end =
        |event: &String| event.contains("[DONE]") || event.contains("\"finish_reason\":\"");
    assert!(!events.iter().any(is_end), "{events:?}");
}

#[tokio::test]
async fn completions_have_the_permits_and_timeouts_of_chats() {
    let (_model, sidecar) = start_with(|options| {
        options
            .env("PROXY_SSE_MAX_CONCURRENCY", "1")
            .env("PROXY_QUEUE_MAX", "0")
            .env("PROXY_PROTO_IDLE_MS", "300")
    })
    .await;
    let silent = json!([{"text": "Hi.", "open": true}, {"hold": "never"}, {"text": "."}]);
    let mut client = sidecar.connect().await;
    let request = complete(&silent, &json!({"stream": true}));
    let mut first = Events::new(client.stream(request).await.unwrap());
    first.next_json().await;
    let rejected = ask(&sidecar, &silent, &json!({})).await;
    assert_error(&rejected, 429, "concurrency_exceeded");
    drop((first, client));
    let retries = async {
        loop {
            let response = ask(&sidecar, &silent, &json!({})).await;
            if response.status != 429 {
                return response;
            }
        }
    };
    let next = timeout(SOON, retries)
        .await
        .expect("a disconnected client frees its permit");
    assert_error(&next, 504, "idle_timeout");
}

#[tokio::test]
async fn completions_path_allows_the_methods_of_chats() {
    let (_model, sidecar) = start().await;
    let mut client = sidecar.connect().await;
    for path in ["/v1/completions", "/v1/completions/"] {
        for (method, status) in [
            (Method::HEAD, 200),
            (Method::GET, 405),
            (Method::DELETE, 405),
            (Method::OPTIONS, 204),
        ] {
            let mut request = post(path, String::new());
            *request.method_mut() = method.clone();
            let response = client.send(request).await.unwrap();
            assert_eq!(response.status, status, "{method} {path}: {response:?}");
            if status == 405 {
                assert_eq!(response.header("allow"), "POST, HEAD, OPTIONS");
            }
        }
    }
}
