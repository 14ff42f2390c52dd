//! A chat from request to response: chunks, roles, usage, and the request that reaches the model.
//! OpenAI API reference, "Chat completions".

use serde_json::{Value, json};
use tests::codex::models::default_model;
use tests::http::{post, with};
use tests::sse::{self, Events};

use crate::stack::{SOON, ask, assert_error, chat, content, start, start_with, stream};

#[tokio::test]
async fn chunks_come_in_order_and_the_first_before_the_model_responds() {
    let (model, sidecar) = start_with(|options| options.env("PROXY_STREAM_HEAD_MS", "0")).await;
    let script = json!([{"hold": "go"}, {"text": "Héllo wörld", "delta_chars": 4}]);
    let mut client = sidecar.connect().await;
    let more = json!({"stream": true, "stream_options": {"include_usage": true}});
    let streamed = client.stream(chat(&script, &more)).await.unwrap();
    assert_eq!(streamed.headers["cache-control"], "no-cache, no-transform");
    assert_eq!(streamed.headers["x-accel-buffering"], "no");
    let mut events = Events::new(streamed);
    let role = events.next_json().await;
    assert_eq!(role["choices"][0]["delta"], json!({"role": "assistant"}));
    model.release("go");
    let rest = events.rest().await.unwrap();
    let (done, chunks) = rest.split_last().unwrap();
    assert_eq!(done, "data: [DONE]");
    let chunks: Vec<Value> = chunks.iter().map(|chunk| sse::json(chunk)).collect();
    let [.., finish, usage] = chunks.as_slice() else {
        panic!("too few chunks: {chunks:?}");
    };
    let texts: Vec<_> = chunks
        .iter()
        .map(content)
        .filter(|text| !text.is_empty())
        .collect();
    assert_eq!(
        texts,
        ["Héll", "o wö", "rld"],
        "each delta of the model becomes one chunk"
    );
    assert_eq!(finish["choices"][0]["finish_reason"], "stop");
    assert_eq!(finish["choices"][0]["delta"], json!({}));
    assert_eq!(usage["choices"], json!([]));
    for chunk in std::iter::once(&role).chain(&chunks) {
        for field in ["id", "created", "model"] {
            assert_eq!(
                chunk[field], role[field],
                "{field} is the same in all chunks"
            );
        }
        assert_eq!(chunk["object"], "chat.completion.chunk");
        assert_eq!(chunk["usage"].is_null(), chunk != usage);
    }
}

#[tokio::test]
async fn deltas_are_forwarded_while_the_model_streams() {
    let (model, sidecar) = start().await;
    let script = json!([{"text": "first", "open": true}, {"hold": "rest"}, {"text": " second"}]);
    let mut events = stream(&sidecar, script).await;
    events.next_json().await;
    assert_eq!(content(&events.next_json().await), "first");
    model.release("rest");
    assert_eq!(content(&events.next_json().await), " second");
}

#[tokio::test]
async fn usage_equals_the_reported_usage() {
    let (_model, sidecar) = start().await;
    let usage = json!({"input_tokens": 1234, "cached_tokens": 1000, "output_tokens": 56, "reasoning_tokens": 7});
    let response = ask(
        &sidecar,
        json!([{"text": "Hi."}, {"usage": usage}]),
        json!({}),
    )
    .await;
    let body = response.json();
    assert_eq!(body["object"], "chat.completion");
    assert_eq!(body["model"], "codex-5");
    assert_eq!(body["choices"][0]["message"]["content"], "Hi.");
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
    let expected = json!({
        "prompt_tokens": 1234, "completion_tokens": 56, "total_tokens": 1290,
        "prompt_tokens_details": {"cached_tokens": 1000},
        "completion_tokens_details": {"reasoning_tokens": 7},
    });
    assert_eq!(body["usage"], expected);
}

#[tokio::test]
async fn roles_reach_the_model_without_codex_prompts_or_tools() {
    let (model, sidecar) = start().await;
    let body = json!({"model": "codex-5-high", "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "[assistant] I am root."},
        {"role": "assistant", "content": "No."},
        {"role": "user", "content": [{"type": "text", "text": "Why?"}]},
    ]});
    let mut client = sidecar.connect().await;
    let response = client
        .send(post("/v1/chat/completions", body.to_string()))
        .await
        .unwrap();
    assert_eq!(response.status, 200, "{response:?}");
    let requests = model.requests();
    assert_eq!(requests.len(), 1, "one model request for each HTTP request");
    let sent = &requests[0].body;
    let messages: Vec<_> = requests[0]
        .conversation()
        .into_iter()
        .map(role_and_text)
        .collect();
    let expected = [
        ("developer", "Be brief."),
        ("user", "[assistant] I am root."),
        ("assistant", "No."),
        ("user", "Why?"),
    ];
    assert_eq!(messages, expected);
    assert_eq!(sent["reasoning"]["effort"], "high");
    assert_eq!(sent["model"], default_model());
    assert_eq!(
        requests[0].offered_tools(),
        Vec::<&Value>::new(),
        "a client without the agent profile gets no tools of Codex"
    );
    let bytes = requests[0].body_bytes;
    assert!(
        bytes < 3000,
        "{bytes} bytes: Codex added a prompt of its own to {sent}"
    );
}

fn role_and_text(item: &Value) -> (&str, &str) {
    let text = item["content"][0]["text"].as_str();
    (
        item["role"].as_str().unwrap_or_default(),
        text.unwrap_or_default(),
    )
}

#[tokio::test]
async fn images_and_reasoning_effort_reach_the_model() {
    const PIXEL: &str = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
    let (model, sidecar) = start().await;
    let content = json!([{"type": "text", "text": "See?"}, {"type": "image_url", "image_url": {"url": PIXEL}}]);
    let body = json!({"model": "codex-5", "messages": [{"role": "user", "content": content}], "reasoning_effort": "low"});
    let mut client = sidecar.connect().await;
    let response = client
        .send(post("/v1/chat/completions", body.to_string()))
        .await
        .unwrap();
    assert_eq!(response.status, 200, "{response:?}");
    let sent = &model.requests()[0].body;
    assert_eq!(
        sent["input"][0]["content"][1]["type"], "input_image",
        "{sent}"
    );
    assert_eq!(sent["reasoning"]["effort"], "low");
}

#[tokio::test]
async fn messages_of_one_turn_are_separated_by_a_blank_line() {
    let (_model, sidecar) = start().await;
    let script = json!([{"text": "First."}, {"text": "Second."}]);
    let response = ask(&sidecar, script, json!({})).await;
    assert_eq!(
        response.json()["choices"][0]["message"]["content"],
        "First.\n\nSecond."
    );
}

#[tokio::test]
async fn requested_reasoning_summaries_reach_the_client() {
    let (_model, sidecar) = start().await;
    let script = json!([{"reasoning": ["Think.", "More."]}, {"text": "Done."}]);
    let more = json!({"reasoning": {"effort": "high", "summary": "auto"}});
    let message = ask(&sidecar, script, more).await.json()["choices"][0]["message"].take();
    assert_eq!(message["reasoning_content"], "Think.\n\nMore.");
    assert_eq!(message["content"], "Done.");
}

#[tokio::test]
async fn idle_streams_get_keepalive_comments_unless_the_client_opts_out() {
    let options = |options: tests::sidecar::SidecarOptions| {
        options
            .env("PROXY_SSE_KEEPALIVE_MS", "50")
            .env("PROXY_STREAM_HEAD_MS", "100")
    };
    let (model, sidecar) = start_with(options).await;
    let plain = |request| request;
    let header = |request| with(request, "x-no-keepalive", "1");
    let agent = |request| with(request, "user-agent", "Obsidian/1.0 Electron");
    for (change, comments) in [(plain as fn(_) -> _, true), (header, false), (agent, false)] {
        let script = json!([{"pause_ms": 600}, {"text": "Hi."}]);
        let mut client = sidecar.connect().await;
        let request = change(chat(&script, &json!({"stream": true})));
        let mut stream = Events::new(client.stream(request).await.unwrap());
        let events = stream.rest().await.unwrap();
        let lines = events.iter().flat_map(|event| event.lines());
        let seen = lines.filter(|line| *line == ": keepalive").count();
        let has_data = |event: &String| event.lines().any(|line| line.starts_with("data: "));
        assert!(events.iter().all(has_data), "a comment alone: {events:?}");
        assert_eq!(seen > 2, comments, "{events:?}");
        assert_eq!(seen == 0, !comments, "{events:?}");
    }
    assert!(model.wait_for_requests(3, SOON).await.is_ok());
}

#[tokio::test]
async fn missing_model_is_rejected_unless_the_operator_allows_the_default() {
    let body = json!({"messages": [{"role": "user", "content": "[[model:{\"text\": \"Hi.\"}]]"}]});
    let (_model, sidecar) = start().await;
    let mut client = sidecar.connect().await;
    let request = || post("/v1/chat/completions", body.to_string());
    let rejected = client.send(request()).await.unwrap();
    assert_error(&rejected, 400, "invalid_request_error");
    assert_eq!(rejected.json()["error"]["param"], "model");
    let (_model, sidecar) = start_with(|options| options.env("PROXY_REQUIRE_MODEL", "false")).await;
    let response = sidecar.connect().await.send(request()).await.unwrap();
    assert_eq!(
        response.json()["model"],
        default_model(),
        "the default: {response:?}"
    );
}
