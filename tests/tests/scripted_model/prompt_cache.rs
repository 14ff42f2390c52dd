//! The computed usage of a stream, and the prompt cache that it reports.
//! Follows the section "Usage and the prompt cache" in the docs of `tests::scripted_model`.

use serde_json::{Value, json};
use tests::http::get;
use tests::scripted_model::{PromptTokens, ScriptedModel};

use crate::{MODEL, body, connect, directive, events, play, send, start};

/// Repeated 1,100 times, more than the smallest prefix that is cached: 1,024 tokens.
const WORDS: &str = "word";

/// The request of a conversation with `items`, as Codex sends it on a thread `key`.
fn request(key: &str, items: &[Value]) -> Value {
    json!({
        "model": MODEL,
        "stream": true,
        "prompt_cache_key": key,
        "instructions": WORDS.repeat(1100),
        "tools": [{"type": "function", "name": "read", "parameters": {"type": "object", "properties": {}}}],
        "input": items,
    })
}

fn user(text: &str) -> Value {
    json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]})
}

fn assistant(text: &str) -> Value {
    json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]})
}

/// The usage in the last event of the response: tokens of the input, and tokens of it that were cached.
async fn usage(model: &ScriptedModel, body: &Value) -> PromptTokens {
    let response = send(model, body).await;
    let events = events(&response.body);
    let usage = &events.last().expect("there are events")["response"]["usage"];
    let count = |pointer| usage.pointer(pointer).and_then(Value::as_u64);
    PromptTokens {
        input: count("/input_tokens").expect("a count"),
        cached: count("/input_tokens_details/cached_tokens").expect("a count"),
    }
}

#[tokio::test]
async fn default_usage_is_computed_from_bytes() {
    let model = start().await;
    let steps = json!([{"reasoning": ["12345678"]}, {"text": "1234"}]);
    let response = play(&model, &steps).await;
    let item = body(&directive(&steps))["input"][0].to_string();
    let read = format!("\"{MODEL}\"\n{item}\n").len() as u64;
    let events = events(&response.body);
    let usage = &events.last().expect("there are events")["response"]["usage"];
    assert_eq!(usage["input_tokens"], read.div_ceil(4));
    assert_eq!(usage["output_tokens"], 3);
    assert_eq!(usage["output_tokens_details"]["reasoning_tokens"], 2);
    assert_eq!(usage["total_tokens"], read.div_ceil(4) + 3);
}

#[tokio::test]
async fn continued_conversation_is_cached_up_to_its_new_items() {
    let model = start().await;
    let mut items = vec![user("first")];
    let mut before = usage(&model, &request("thread", &items)).await;
    assert_eq!(before.cached, 0);
    for turn in 0..5 {
        items.extend([assistant(&WORDS.repeat(150)), user(&format!("turn {turn}"))]);
        let now = usage(&model, &request("thread", &items)).await;
        assert_eq!(now.cached, before.input / 128 * 128, "{now:?}");
        before = now;
    }
}

#[tokio::test]
async fn each_key_has_a_cache_of_its_own() {
    let model = start().await;
    let items = [user("hi")];
    let cached = async |body: Value| usage(&model, &body).await.cached;
    assert_eq!(cached(request("first", &items)).await, 0);
    assert_eq!(cached(request("second", &items)).await, 0);
    assert_ne!(cached(request("first", &items)).await, 0);
    let mut without = request("first", &items);
    without["prompt_cache_key"] = Value::Null;
    assert_eq!(cached(without.clone()).await, 0);
    assert_eq!(cached(without).await, 0);
}

#[tokio::test]
async fn change_before_the_first_1024_tokens_misses_the_cache() {
    let model = start().await;
    let sent = request("thread", &[user("hi")]);
    for (field, changed) in [
        ("model", json!("gpt-5-mini")),
        ("tools", json!([])),
        (
            "instructions",
            json!(format!("Now: {}", WORDS.repeat(1100))),
        ),
        ("text", json!({"verbosity": "low"})),
    ] {
        let mut other = sent.clone();
        other[field] = changed;
        usage(&model, &sent).await;
        assert_eq!(usage(&model, &other).await.cached, 0, "{field}");
    }
}

#[tokio::test]
async fn fields_that_the_model_does_not_read_do_not_count() {
    let model = start().await;
    let mut sent = request("thread", &[user("hi")]);
    let first = usage(&model, &sent).await;
    sent["client_metadata"] = json!({"turn": WORDS.repeat(500)});
    sent["input"][0]["id"] = json!("msg_1");
    let second = usage(&model, &sent).await;
    assert_eq!(second.input, first.input);
    assert_eq!(second.cached, first.input / 128 * 128);
}

#[tokio::test]
async fn counts_of_a_script_replace_the_computed_ones() {
    for (steps, expected) in [
        (json!({"input_tokens": 11}), (11, 0)),
        (json!({"input_tokens": 11, "cached_tokens": 3}), (11, 3)),
    ] {
        let model = start().await;
        let prompt = directive(&json!([{"text": "x"}, {"usage": steps}]));
        let sent = request("thread", &[user(&prompt)]);
        usage(&model, &sent).await;
        let reported = usage(&model, &sent).await;
        assert_eq!((reported.input, reported.cached), expected);
    }
    let model = start().await;
    let prompt = directive(&json!([{"text": "x"}, {"usage": {"cached_tokens": 7}}]));
    assert_eq!(
        usage(&model, &request("thread", &[user(&prompt)]))
            .await
            .cached,
        7
    );
}

#[tokio::test]
async fn error_is_not_cached_and_a_cut_stream_is() {
    let model = start().await;
    let answered = |key: &str, steps: Value| request(key, &[user("hi"), user(&directive(&steps))]);
    send(&model, &answered("failed", json!({"status": 500}))).await;
    send(&model, &answered("cut", json!({"cut": "clean"}))).await;
    let next = json!({"text": "x"});
    assert_eq!(
        usage(&model, &answered("failed", next.clone()))
            .await
            .cached,
        0
    );
    assert_ne!(usage(&model, &answered("cut", next)).await.cached, 0);
}

#[tokio::test]
async fn computed_counts_are_recorded_with_the_request() {
    let model = start().await;
    let prompt =
        directive(&json!([{"text": "x"}, {"usage": {"input_tokens": 11, "cached_tokens": 3}}]));
    let sent = request("thread", &[user(&prompt)]);
    for _ in 0..2 {
        send(&model, &sent).await;
    }
    send(&model, &json!({"model": MODEL})).await;
    let counts: Vec<_> = model
        .requests()
        .iter()
        .map(|request| request.prompt)
        .collect();
    let [Some(first), Some(second), None] = counts[..] else {
        panic!("expected counts of two requests: {counts:?}");
    };
    assert_eq!((first.cached, second.input), (0, first.input));
    assert_eq!(second.cached, first.input / 128 * 128);
    let mut client = connect(&model).await;
    let listed = client
        .send(get("/__control/requests"))
        .await
        .expect("a response");
    let listed: Value = serde_json::from_slice(&listed.body).expect("JSON");
    assert_eq!(listed[1]["input_tokens"], second.input);
    assert_eq!(listed[1]["cached_tokens"], second.cached);
    assert_eq!(listed[2]["cached_tokens"], Value::Null);
}
