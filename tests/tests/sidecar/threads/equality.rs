//! The model sees the same on a warm thread as on a new one: random conversations, with warm threads and without.

use serde_json::{Value, json};

use super::conversation::{Chat, call, comparable, tool};
use crate::stack::start_with;

/// Conversations that are compared.
const CONVERSATIONS: u64 = 12;

/// Requests of a conversation.
const REQUESTS: usize = 6;

/// A generator with a fixed seed, so that a failure repeats (Knuth's MMIX).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Plays the conversation with this seed, and returns the origins of its threads.
async fn play(chat: &mut Chat<'_>, seed: u64) -> Vec<String> {
    let mut numbers = Numbers(seed);
    let mut origins = Vec::new();
    if numbers.below(2) == 0 {
        chat.fields["tools"] = json!([tool("look"), tool("mcp_go"), tool("run_command")]);
    }
    let mut open: Vec<String> = Vec::new();
    for number in 0..REQUESTS {
        change(chat, &mut numbers, open.is_empty());
        let had_outputs = !open.is_empty();
        for id in open.drain(..) {
            chat.output(&id, &format!("output of {id}\n"));
        }
        if !had_outputs || numbers.below(4) == 0 {
            let script = script(chat, &mut numbers, number);
            chat.user(&format!("message {number}"), &script);
        }
        origins.push(chat.send().await);
        let calls = chat.messages[chat.messages.len() - 1]["tool_calls"]
            .as_array()
            .cloned();
        open = calls
            .unwrap_or_default()
            .iter()
            .map(|call| call["id"].as_str().expect("an id").to_owned())
            .collect();
    }
    origins
}

/// Changes what a client may change between two requests.
fn change(chat: &mut Chat<'_>, numbers: &mut Numbers, is_free: bool) {
    match numbers.below(12) {
        0 => {
            chat.fields["reasoning_effort"] =
                json!(["low", "high"][usize::from(numbers.below(2) == 0)])
        }
        1 => {
            chat.fields["response_format"] = json!({"type": "json_schema", "json_schema": {"name": "a", "strict": true, "schema": {
            "type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": false}}})
        }
        2 => chat.fields["response_format"] = Value::Null,
        3 if is_free => {
            let place = chat.messages.len() - 1;
            if chat.messages[place]["role"] == "assistant" {
                chat.messages[place]["content"] = json!("An edited answer.");
            }
        }
        4 => chat.messages[0]["content"] = json!(format!("Be brief, {}.", numbers.below(2))),
        5 => chat.fields["parallel_tool_calls"] = json!(numbers.below(2) == 0),
        _ => {}
    }
}

/// Returns a script for the message `number`, of one round or more.
fn script(chat: &Chat<'_>, numbers: &mut Numbers, number: usize) -> Value {
    let text = json!({"text": format!("Answer {number}.  ")});
    let reasoning = json!({"reasoning": ["Hm."], "encrypted_content": format!("gAAA{number}")});
    let has_tools = chat.fields["tools"].is_array();
    let calls = |round: usize| {
        let id = |part: &str| format!("c{number}_{round}_{part}");
        let mcp = json!({"call": "client_mcp_go", "call_id": id("b"), "arguments": "{\"city\":1}"});
        json!([call(&id("a")), mcp])
    };
    match numbers.below(5) {
        0 | 1 if has_tools => json!([
            [reasoning, text, calls(0)[0], calls(0)[1]],
            [calls(1)[0]],
            [text]
        ]),
        2 if has_tools => json!([[calls(0)[0]], [reasoning, text]]),
        3 => json!([reasoning, text]),
        _ => json!([text]),
    }
}

#[tokio::test]
async fn model_sees_the_same_on_warm_threads_and_on_new_ones() {
    let (warm_model, warm) = start_with(|options| options).await;
    let (new_model, new) = start_with(|options| options.env("PROXY_WARM_THREADS", "0")).await;
    let mut continued = 0;
    for seed in 0..CONVERSATIONS {
        warm_model.clear();
        new_model.clear();
        let origins = play(&mut Chat::new(&warm), seed).await;
        play(&mut Chat::new(&new), seed).await;
        let seen: Vec<_> = warm_model.requests().iter().map(comparable).collect();
        let expected: Vec<_> = new_model.requests().iter().map(comparable).collect();
        assert_eq!(seen.len(), REQUESTS, "conversation {seed}");
        for (number, (seen, expected)) in seen.iter().zip(&expected).enumerate() {
            assert_eq!(
                seen, expected,
                "conversation {seed}, request {number}: {origins:?}"
            );
        }
        continued += origins.iter().filter(|origin| *origin == "warm").count();
    }
    assert!(continued > 20, "{continued} requests continued a thread");
}
