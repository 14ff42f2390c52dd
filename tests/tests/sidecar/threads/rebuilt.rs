//! Conversations that have lost their thread: after a restart, on another sidecar, after an edit, after an interrupt.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::http::{post, with};
use tests::redis::Redis;
use tests::sidecar::{Sidecar, SidecarOptions, codex_tool};
use tests::sse::Events;

use super::conversation::{Chat, cache_keys, call, comparable, tool};
use crate::stack::{eventually, start, start_with};

/// The variable of the secret of the ids of conversations.
const SECRET: &str = "PROXY_CONVERSATION_SECRET";

/// Starts a chat that is long enough for the provider's prompt cache.
fn long(sidecar: &Sidecar) -> Chat<'_> {
    let mut chat = Chat::new(sidecar);
    chat.messages[0]["content"] = "Be brief. ".repeat(600).into();
    chat
}

/// Starts a chat after a first request that another sidecar has answered.
fn continued(sidecar: &Sidecar) -> Chat<'_> {
    let mut chat = long(sidecar);
    let answer = json!({"role": "assistant", "content": "Answered elsewhere."});
    chat.messages
        .push(json!({"role": "user", "content": "First."}));
    chat.messages.push(answer);
    chat
}

async fn restart(sidecar: &mut Sidecar) {
    sidecar.signal(Signal::SIGTERM);
    assert_eq!(sidecar.wait().await, Some(0));
    sidecar.restart();
    sidecar.wait_until_ready().await;
}

/// The rollout files below a folder.
fn rollouts(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let below = entries.flat_map(|entry| {
        let path = entry.path();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let is_rollout = path.extension().is_some_and(|name| name == "jsonl");
        match (is_folder, is_rollout) {
            (true, _) => rollouts(&path),
            (false, true) => vec![path.to_string_lossy().into_owned()],
            (false, false) => Vec::new(),
        }
    });
    below.collect()
}

#[tokio::test]
async fn conversation_keeps_its_cache_key_over_restarts() {
    let (model, mut sidecar) = start().await;
    let mut messages = long(&sidecar).messages;
    for (number, expected) in [(1, "new"), (2, "resumed"), (3, "resumed")] {
        let mut chat = long(&sidecar);
        chat.messages = messages;
        assert_eq!(chat.ask(&format!("Question {number}")).await, expected);
        messages = chat.messages;
        restart(&mut sidecar).await;
    }
    let mut chat = long(&sidecar);
    chat.messages = messages;
    assert_eq!(chat.ask("Question 4").await, "resumed");
    assert_eq!(
        chat.ask("Question 5").await,
        "warm",
        "a rebuilt thread stays loaded"
    );
    let keys = cache_keys(&model);
    assert_eq!(keys, vec![keys[0].clone(); 5], "that of its first thread");
    let cached = |request: &tests::scripted_model::RecordedRequest| {
        request.prompt.expect("the prompt was counted").cached
    };
    for request in &model.requests()[1..] {
        assert!(cached(request) >= 1024, "{}", cached(request));
    }
}

#[tokio::test]
async fn rebuilt_thread_asks_for_the_same_as_a_new_one() {
    let (model, sidecar) = start().await;
    let off = |options: SidecarOptions| options.env("PROXY_CONVERSATION_IDS", "false");
    let other = off(SidecarOptions::with_codex(codex_tool(), &model))
        .start()
        .await;
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": false});
    let format = json!({"type": "json_schema", "json_schema": {"name": "a", "schema": schema, "strict": true}});
    let image = json!({"type": "image_url", "image_url": {"url": crate::images::png(3, 2)}});
    let kinds: [(Value, Value); 4] = [
        (json!({}), json!("Plain.")),
        (
            json!({"tools": [tool("look"), tool("go")], "verbosity": "high"}),
            json!("Tools."),
        ),
        (json!({"response_format": format}), json!("Schema.")),
        (
            json!({}),
            json!([{"type": "text", "text": "Image."}, image]),
        ),
    ];
    for (fields, content) in kinds {
        let mut asked = Vec::new();
        for (sidecar, expected) in [(&sidecar, "resumed"), (&other, "new")] {
            let mut chat = continued(sidecar);
            chat.messages
                .push(json!({"role": "user", "content": content}));
            chat.fields = fields.clone();
            let thread = chat.answer().await.0;
            assert_eq!(thread, expected, "{content}");
            asked.push(comparable(model.requests().last().unwrap()));
        }
        assert_eq!(asked[0], asked[1], "{content}");
    }
}

#[tokio::test]
async fn sidecars_that_share_the_secret_share_the_key_of_a_conversation() {
    let (model, first) = start_with(|options| options.env(SECRET, "shared by the two")).await;
    let options = |secret| SidecarOptions::with_codex(codex_tool(), &model).env(SECRET, secret);
    let second = options("shared by the two").start().await;
    let stranger = options("another secret of one").start().await;
    for sidecar in [&first, &second, &stranger] {
        assert_eq!(continued(sidecar).ask("Next").await, "resumed");
    }
    let mut bob = continued(&first);
    bob.client = "bob";
    assert_eq!(bob.ask("Next").await, "resumed");
    let keys = cache_keys(&model);
    assert_eq!(keys[0], keys[1]);
    assert_ne!(keys[0], keys[2], "another secret");
    assert_ne!(keys[0], keys[3], "another client");
}

#[tokio::test]
async fn conversation_over_two_sidecars_in_turn_has_one_key_from_the_second_request_on() {
    let (model, first) = start_with(|options| options.env(SECRET, "shared by the two")).await;
    let options = SidecarOptions::with_codex(codex_tool(), &model).env(SECRET, "shared by the two");
    let second = options.start().await;
    let mut messages = long(&first).messages;
    let mut threads = Vec::new();
    for (number, sidecar) in [&first, &second, &first, &second, &first]
        .into_iter()
        .enumerate()
    {
        let mut chat = long(sidecar);
        chat.messages = messages;
        threads.push(chat.ask(&format!("Question {number}")).await);
        messages = chat.messages;
    }
    assert_eq!(threads, ["new", "resumed", "resumed", "resumed", "resumed"]);
    let keys = cache_keys(&model);
    assert_eq!(keys[1..], vec![keys[1].clone(); 4]);
    assert_ne!(keys[0], keys[1], "a first request has a thread of Codex's");
}

#[tokio::test]
async fn conversation_over_the_sidecars_of_a_fleet_has_one_key() {
    let redis = Redis::start().await;
    let of_fleet = |options: SidecarOptions| {
        options
            .env(SECRET, "shared by the two")
            .env("PROXY_STATE", &redis.address())
    };
    let (model, first) = start_with(of_fleet).await;
    let second = of_fleet(SidecarOptions::with_codex(codex_tool(), &model))
        .start()
        .await;
    let mut messages = long(&first).messages;
    for (number, sidecar) in [&first, &second, &first, &second].into_iter().enumerate() {
        let mut chat = long(sidecar);
        chat.messages = messages;
        chat.ask(&format!("Question {number}")).await;
        messages = chat.messages;
    }
    let keys = cache_keys(&model);
    assert_eq!(keys, vec![keys[0].clone(); 4], "that of its first thread");
}

#[tokio::test]
async fn edited_conversation_keeps_the_key_of_its_first_thread() {
    let (model, sidecar) = start().await;
    let mut chat = long(&sidecar);
    assert_eq!(chat.ask("One").await, "new");
    assert_eq!(chat.ask("Two").await, "warm");
    chat.messages[2]["content"] = "Edited.".into();
    assert_eq!(chat.ask("Three").await, "resumed");
    assert_eq!(chat.ask("Four").await, "warm");
    let keys = cache_keys(&model);
    assert_eq!(keys, vec![keys[0].clone(); 4]);
}

#[tokio::test]
async fn conversation_goes_on_under_its_key_after_an_interrupt() {
    let (model, sidecar) = start().await;
    let mut chat = long(&sidecar);
    assert_eq!(chat.ask("One").await, "new");
    let mut stopped = chat.clone();
    stopped.user(
        "Two",
        &json!([{"text": "Some"}, {"hold": "never"}, {"text": "More"}]),
    );
    let body = json!({"model": "codex-5", "messages": stopped.messages, "stream": true});
    let request = with(
        post("/v1/chat/completions", body.to_string()),
        "x-codex-edge-client",
        "ann",
    );
    let mut connection = sidecar.connect().await;
    let stream = connection
        .stream(request)
        .await
        .expect("a response arrives");
    let mut events = Events::new(stream);
    events.next().await.expect("the stream has a first event");
    drop(events);
    drop(connection);
    let deadline = std::time::Duration::from_secs(10);
    model
        .wait_for_disconnects(1, deadline)
        .await
        .expect("the turn is interrupted");
    assert_eq!(chat.ask("Three").await, "resumed");
    let keys = cache_keys(&model);
    assert_eq!(keys, vec![keys[0].clone(); 3]);
}

#[tokio::test]
async fn tool_loop_goes_on_on_a_rebuilt_thread() {
    let (model, sidecar) = start().await;
    let mut chat = continued(&sidecar);
    chat.fields = json!({"tools": [tool("look"), tool("go")]});
    let rounds = json!([
        [{"reasoning": ["Two."], "encrypted_content": "gAAA"}, {"text": "I look.", "delta_chars": 2}, call("c1"), {"pause_ms": 100}, call("c2")],
        [{"text": "Cold."}],
    ]);
    chat.user("Weather?", &rounds);
    assert_eq!(chat.send().await, "resumed");
    let answer = chat.messages.last().unwrap().clone();
    assert_eq!(answer["content"], "I look.");
    let arguments = |index: usize| answer["tool_calls"][index]["function"]["arguments"].clone();
    assert_eq!(
        [arguments(0), arguments(1)],
        ["{\"city\": \"Oslo\"}"; 2],
        "the model's own text"
    );
    chat.output("c1", "-3");
    chat.output("c2", "-4");
    assert_eq!(chat.send().await, "warm");
    assert_eq!(chat.messages.last().unwrap()["content"], "Cold.");
    assert_eq!(
        model.requests().len(),
        2,
        "one model request for each HTTP request"
    );
    let input = model.requests()[1].body["input"].to_string();
    assert!(
        input.contains("gAAA"),
        "the thread has the model's reasoning: {input}"
    );
}

#[tokio::test]
async fn calls_of_unknown_tools_are_handed_out_from_a_rebuilt_thread() {
    let (_model, sidecar) = start().await;
    let mut chat = continued(&sidecar);
    chat.fields = json!({"tools": [tool("look")]});
    let invalid = json!({"call": "look", "arguments": "no JSON"});
    chat.user(
        "Weather?",
        &json!([[invalid, {"call": "unknown"}], [{"text": "Never sent."}]]),
    );
    let (thread, answer) = chat.answer().await;
    assert_eq!(thread, "resumed");
    assert_eq!(answer["choices"][0]["finish_reason"], "tool_calls");
    let calls = &answer["choices"][0]["message"]["tool_calls"];
    assert_eq!(calls[0]["function"]["arguments"], "no JSON");
    assert_eq!(calls[1]["function"]["name"], "unknown");
}

#[tokio::test]
async fn tools_that_codex_rejects_are_rejected_for_a_rebuilt_thread_too() {
    let (_model, sidecar) = start().await;
    let mut rejected = tool("look");
    rejected["function"]["parameters"]["properties"]["city"] = json!({"enum": 5});
    for first in [true, false] {
        let mut chat = if first {
            long(&sidecar)
        } else {
            continued(&sidecar)
        };
        chat.messages
            .push(json!({"role": "user", "content": "Hi."}));
        let body = json!({"model": "codex-5", "messages": chat.messages, "tools": [rejected]});
        let mut connection = sidecar.connect().await;
        let request = post("/v1/chat/completions", body.to_string());
        let response = connection.send(request).await.expect("a response arrives");
        assert_eq!(response.status, 400, "{response:?}");
    }
}

#[tokio::test]
async fn requests_of_one_conversation_at_once_have_threads_of_their_own_and_one_key() {
    let (model, sidecar) = start().await;
    let chats = ["a", "b", "c"].map(|text| {
        let mut chat = continued(&sidecar);
        chat.user(text, &json!({"text": format!("Answer to {text}.")}));
        chat.answer()
    });
    let answers = futures_util::future::join_all(chats).await;
    for ((thread, answer), text) in answers.iter().zip(["a", "b", "c"]) {
        assert_eq!(thread, "resumed");
        let content = &answer["choices"][0]["message"]["content"];
        assert_eq!(content, &format!("Answer to {text}."));
    }
    let keys = cache_keys(&model);
    assert_eq!(keys, vec![keys[0].clone(); 3]);
}

#[tokio::test]
async fn rollout_files_are_removed_with_their_threads() {
    let (_model, sidecar) = start_with(|options| options.env("PROXY_WARM_THREADS", "0")).await;
    assert_eq!(continued(&sidecar).ask("Next").await, "resumed");
    let folder = sidecar.dir().to_owned();
    eventually("no rollout file is left", || rollouts(&folder).is_empty()).await;
}

#[tokio::test]
async fn first_and_short_requests_begin_new_threads() {
    let (_model, sidecar) = start().await;
    assert_eq!(long(&sidecar).ask("First").await, "new");
    let mut short = continued(&sidecar);
    short.messages[0]["content"] = "Be brief.".into();
    assert_eq!(short.ask("Next").await, "new");
}

#[tokio::test]
async fn threads_are_new_where_rebuilding_is_off() {
    let (_model, sidecar) =
        start_with(|options| options.env("PROXY_CONVERSATION_IDS", "false")).await;
    assert_eq!(continued(&sidecar).ask("Next").await, "new");
}

#[tokio::test]
async fn failed_proof_is_a_warning_and_threads_are_new() {
    // Codex reaches the sidecar's own provider over a proxy that does not exist, and the scripted model without one.
    let (_model, sidecar) = start_with(|options| {
        options
            .env("HTTP_PROXY", "http://127.0.0.1:9")
            .env("NO_PROXY", "localhost")
            .map_env("SCRIPTED_MODEL_URL", |url| {
                url.replace("127.0.0.1", "localhost")
            })
    })
    .await;
    assert_eq!(continued(&sidecar).ask("Next").await, "new");
    let warnings = || sidecar.log().matches("threads are not rebuilt").count();
    assert_eq!(warnings(), 1, "{}", sidecar.log());
}
