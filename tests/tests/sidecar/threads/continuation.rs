//! Conversations without tools: what continues a thread, and what begins a new one.

use serde_json::{Value, json};
use tests::http::{post, with};

use super::conversation::{Chat, assert_each_input_begins_with_the_last, cache_keys, comparable};
use crate::stack::{start, start_with};

#[tokio::test]
async fn chat_stays_on_its_thread_and_its_prompt_is_cached() {
    let (model, sidecar) = start().await;
    let mut chat = Chat::new(&sidecar);
    chat.messages[0]["content"] = json!("Be brief. ".repeat(1000));
    assert_eq!(chat.ask("one").await, "new");
    assert_eq!(chat.ask("two").await, "warm");
    chat.user("three", &json!({"text": "Three."}));
    let (thread, answer) = chat.answer().await;
    assert_eq!(thread, "warm");
    let keys = cache_keys(&model);
    assert_eq!(keys, vec![keys[0].clone(); 3]);
    let usage = &answer["usage"];
    let cached = usage["prompt_tokens_details"]["cached_tokens"].as_u64();
    let prompt = usage["prompt_tokens"].as_u64();
    assert!(cached.unwrap() * 10 >= prompt.unwrap() * 9, "{usage}");
    assert_each_input_begins_with_the_last(&model);
}

#[tokio::test]
async fn usage_is_that_of_one_request() {
    let (_model, sidecar) = start().await;
    let mut chat = Chat::new(&sidecar);
    for (input, output) in [(100, 20), (150, 30), (200, 40)] {
        let usage = json!({"usage": {"input_tokens": input, "cached_tokens": 0, "output_tokens": output, "reasoning_tokens": 0}});
        chat.user("hi", &json!([{"text": "Hello."}, usage]));
        let (_, answer) = chat.clone().answer().await;
        assert_eq!(answer["usage"]["prompt_tokens"], input);
        assert_eq!(answer["usage"]["completion_tokens"], output);
        chat.messages.push(answer["choices"][0]["message"].clone());
    }
}

#[tokio::test]
async fn edits_other_settings_and_other_clients_begin_new_threads() {
    let (model, sidecar) = start().await;
    let mut chat = Chat::new(&sidecar);
    chat.ask("one").await;
    type Edit = fn(&mut Chat<'_>);
    let edits: [(&str, Edit); 8] = [
        ("the instructions", |chat| {
            chat.messages[0]["content"] = json!("Be long.");
        }),
        ("the user's message", |chat| {
            let text = chat.messages[1]["content"].as_str().unwrap();
            chat.messages[1]["content"] = json!(format!("{text}!"));
        }),
        ("the answer", |chat| {
            chat.messages[2]["content"] = json!("Something else.");
        }),
        ("a message left out", |chat| {
            chat.messages.remove(0);
        }),
        ("the effort", |chat| {
            chat.fields = json!({"reasoning_effort": "high"})
        }),
        ("the verbosity", |chat| {
            chat.fields = json!({"verbosity": "high"})
        }),
        ("the tools", |chat| {
            chat.fields = json!({"tools": [super::conversation::tool("look")]});
        }),
        ("the client", |chat| chat.client = "bob"),
    ];
    let first = cache_keys(&model)[0].clone();
    for (name, edit) in edits {
        let mut edited = chat.clone();
        edit(&mut edited);
        assert_eq!(edited.ask("two").await, "new", "{name}");
        assert!(!cache_keys(&model)[1..].contains(&first), "{name}");
    }
    assert_eq!(chat.ask("two").await, "warm", "the thread is still there");
}

#[tokio::test]
async fn forms_that_clients_give_the_same_text_continue_a_thread() {
    let (_model, sidecar) = start().await;
    let mut chat = Chat::new(&sidecar);
    chat.user("one", &json!({"text": "One. \n"}));
    assert_eq!(chat.send().await, "new");
    chat.messages[2] = json!({
        "role": "assistant", "content": [{"type": "text", "text": "One."}], "tool_calls": null, "refusal": null, "name": null,
    });
    assert_eq!(chat.ask("two").await, "warm", "trimmed, as a list of parts");
    chat.messages[1]["content"] = json!([{"type": "text", "text": chat.messages[1]["content"]}]);
    assert_eq!(chat.ask("three").await, "warm");
}

#[tokio::test]
async fn one_of_several_continuations_gets_the_thread() {
    let (model, sidecar) = start().await;
    let mut chat = Chat::new(&sidecar);
    chat.ask("one").await;
    chat.user("two", &json!({"text": "Two."}));
    let answers = futures_util::future::join_all((0..3).map(|_| chat.clone().answer())).await;
    let warm = answers
        .iter()
        .filter(|(thread, _)| thread == "warm")
        .count();
    assert_eq!(warm, 1, "{answers:?}");
    let requests: Vec<_> = model.requests()[1..].iter().map(comparable).collect();
    assert_eq!(requests, vec![requests[0].clone(); 3]);
}

#[tokio::test]
async fn names_of_conversations_choose_among_equal_threads_and_nothing_else() {
    let (model, sidecar) = start().await;
    let named = |name: &str| {
        let mut chat = Chat::new(&sidecar);
        chat.fields = json!({"prompt_cache_key": name});
        chat
    };
    let (mut first, mut second) = (named("first"), named("second"));
    first.ask("one").await;
    second.ask("one").await;
    assert_eq!(first.ask("two").await, "warm");
    assert_eq!(second.ask("two").await, "warm");
    let keys = cache_keys(&model);
    assert_eq!([&keys[2], &keys[3]], [&keys[0], &keys[1]]);
    second.fields = json!({"prompt_cache_key": "third"});
    assert_eq!(
        second.ask("three").await,
        "warm",
        "another name changes nothing"
    );
    first.messages[2]["content"] = json!("Edited.");
    assert_eq!(
        first.ask("three").await,
        "new",
        "the name alone finds nothing"
    );
}

#[tokio::test]
async fn key_of_the_prompt_cache_is_honoured_on_a_warm_thread() {
    let (model, sidecar) = start().await;
    let mut messages =
        vec![json!({"role": "user", "content": "one [[model:{\"text\": \"One.\"}]]"})];
    let mut client = sidecar.connect().await;
    for (name, ignored) in [("s1", "prompt_cache_key"), ("s1", "")] {
        let body = json!({"model": "codex-5", "messages": messages, "prompt_cache_key": name});
        let request = post("/v1/chat/completions", body.to_string());
        let response = client
            .send(with(request, "session_id", "s1"))
            .await
            .unwrap();
        assert_eq!(response.header("x-codex-edge-ignored"), ignored);
        messages.push(response.json()["choices"][0]["message"].clone());
        messages.push(messages[0].clone());
    }
    assert_eq!(model.requests().len(), 2);
}

#[tokio::test]
async fn turns_that_do_not_end_by_themselves_leave_no_thread() {
    let (model, sidecar) = start().await;
    for fields in [json!({"stop": ["END"]}), json!({"max_tokens": 1})] {
        let mut chat = Chat::new(&sidecar);
        chat.fields = fields.clone();
        chat.user(
            "one",
            &json!([{"text": "One END."}, {"hold": "never"}, {"text": "More."}]),
        );
        chat.send().await;
        assert_eq!(chat.ask("two").await, "new", "{fields}");
    }
    let aborted = model
        .requests()
        .iter()
        .any(|request| request.body["input"].to_string().contains("turn_aborted"));
    assert!(!aborted, "no interrupted turn is continued");
}

#[tokio::test]
async fn stored_responses_continue_their_thread() {
    let (model, sidecar) = start().await;
    let mut client = sidecar.connect().await;
    let mut create = async |input: Value, previous: &Value| {
        let body = json!({"model": "codex-5", "input": input, "previous_response_id": previous});
        let response = client
            .send(post("/v1/responses", body.to_string()))
            .await
            .unwrap();
        assert_eq!(response.status, 200, "{response:?}");
        (
            response.header("x-codex-edge-thread").to_owned(),
            response.json(),
        )
    };
    let script = json!([{"reasoning": ["Hm."], "encrypted_content": "gAAA"}, {"text": "One."}]);
    let ask = json!(format!("one [[model:{script}]]"));
    let (thread, first) = create(ask.clone(), &Value::Null).await;
    assert_eq!(thread, "new");
    let (thread, second) = create(ask.clone(), &first["id"]).await;
    assert_eq!(thread, "warm");
    // The whole conversation, as a client without stored responses sends it.
    let mut input = vec![json!({"role": "user", "content": ask})];
    input.extend(first["output"].as_array().unwrap().iter().cloned());
    input.push(json!({"role": "user", "content": ask}));
    input.extend(second["output"].as_array().unwrap().iter().cloned());
    input.push(json!({"role": "user", "content": ask}));
    let (thread, _) = create(json!(input), &Value::Null).await;
    assert_eq!(thread, "warm");
    let (thread, _) = create(ask.clone(), &first["id"]).await;
    assert_eq!(thread, "new", "another branch of the conversation");
    let items = model.requests()[2].conversation().len();
    assert_eq!(items, 7, "three questions, two answers and their reasoning");
}

#[tokio::test]
async fn zero_warm_threads_turn_them_off() {
    let (model, sidecar) = start_with(|options| options.env("PROXY_WARM_THREADS", "0")).await;
    let mut chat = Chat::new(&sidecar);
    for text in ["one", "two"] {
        assert_eq!(chat.ask(text).await, "new");
    }
    let keys = cache_keys(&model);
    assert_ne!(keys[0], keys[1]);
}

#[tokio::test]
async fn threads_are_started_ahead_for_settings_that_come_again() {
    let (model, sidecar) = start_with(|options| options.env("PROXY_LOG_PROTO", "true")).await;
    let mut answers = Vec::new();
    for number in 0..4 {
        for fields in [
            json!({}),
            json!({"tools": [super::conversation::tool("look")]}),
        ] {
            let mut chat = Chat::new(&sidecar);
            chat.fields = fields;
            chat.messages[0]["content"] = json!(format!("Conversation {number}."));
            answers.push(chat.ask("one").await);
        }
    }
    assert_eq!(answers, vec!["new"; 8]);
    let requests = model.requests();
    let keys: std::collections::HashSet<_> = cache_keys(&model).into_iter().collect();
    assert_eq!(keys.len(), 8, "each conversation has a thread of its own");
    for pair in requests.chunks(2) {
        assert!(pair[0].offered_tools().is_empty());
        assert_eq!(pair[1].offered_tools().len(), 1);
    }
    let log = sidecar.dir().join("codex-home/codex-proto-events.ndjson");
    let starts = std::fs::read_to_string(&log)
        .unwrap()
        .matches("thread/start")
        .count();
    assert!(starts > 8, "{starts} threads for 8 conversations");
}
