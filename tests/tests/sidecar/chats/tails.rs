//! `<use_tool>` blocks in a text: what stands behind them, and whether they end the turn, in both dialects.
//! The Node proxy that came before, with its own example; a cut here ends like any other answer.

use serde_json::{Value, json};
use tests::sidecar::Sidecar;
use tests::sse::{self, Events};

use crate::chats::completions;
use crate::stack::{self, chat, start_with};

/// A variable and its value.
type Setting = (&'static str, &'static str);

const SUPPRESS: Setting = ("PROXY_SUPPRESS_TAIL_AFTER_TOOLS", "true");
const STOP: Setting = ("PROXY_STOP_AFTER_TOOLS", "true");
const FIRST: Setting = ("PROXY_STOP_AFTER_TOOLS_MODE", "first");
const GRACE: Setting = ("PROXY_STOP_AFTER_TOOLS_GRACE_MS", "200");
const ONE: Setting = ("PROXY_TOOL_BLOCK_MAX", "1");
const TWO: Setting = ("PROXY_TOOL_BLOCK_MAX", "2");

/// Where the model falls silent for ever.
#[derive(Clone, Copy)]
enum Silent {
    Never,
    /// When this many of its deltas have come.
    After(usize),
}

const DELTAS: [&str; 5] = [
    "A <use_",
    "tool>a</use_tool>",
    " mid ",
    "<use_tool>b</use_tool>",
    " TAIL",
];

/// What reaches a client when blocks one and two do.
const BOTH: [&str; 3] = [DELTAS[0], DELTAS[1], " mid <use_tool>b</use_tool>"];

fn script(silent: Silent) -> Value {
    let delta = |text: &&str| json!({"text": text, "open": *text != DELTAS[4]});
    let mut steps: Vec<Value> = DELTAS.iter().map(delta).collect();
    if let Silent::After(deltas) = silent {
        steps.insert(deltas, json!({"hold": "never"}));
    }
    steps.into()
}

#[tokio::test]
async fn without_a_setting_all_text_is_forwarded() {
    check(&[], Silent::Never, &DELTAS).await;
}

#[tokio::test]
async fn the_tail_is_left_out_and_the_turn_goes_on() {
    check(&[SUPPRESS], Silent::Never, &BOTH).await;
}

#[tokio::test]
async fn the_first_block_ends_the_turn_at_once() {
    check(&[STOP, FIRST], Silent::After(2), &DELTAS[..2]).await;
    check(&[STOP, FIRST, TWO], Silent::After(2), &DELTAS[..2]).await;
}

#[tokio::test]
async fn a_number_of_blocks_ends_the_turn_at_once() {
    check(&[STOP, TWO], Silent::After(4), &BOTH).await;
    check(&[ONE], Silent::After(2), &DELTAS[..2]).await;
    check(&[TWO], Silent::After(4), &BOTH).await;
}

#[tokio::test]
async fn a_burst_ends_the_turn_when_nothing_follows_it() {
    check(&[STOP, GRACE], Silent::After(4), &BOTH).await;
    check(&[STOP, GRACE], Silent::After(3), &DELTAS[..2]).await;
    check(&[STOP, GRACE], Silent::Never, &BOTH).await;
}

/// Asks both dialects, streamed and gathered.
async fn check(settings: &[Setting], silent: Silent, expected: &[&str]) {
    let (_model, sidecar) = start_with(|options| {
        let set = |options: tests::sidecar::SidecarOptions, (name, value): &Setting| {
            options.env(name, value)
        };
        settings.iter().fold(options, set)
    })
    .await;
    let script = script(silent);
    let more = json!({"stream": true, "include_usage": true});
    let events = stream_chat(&sidecar, &script, &more).await;
    assert_eq!(chat_texts(&events), expected, "{settings:?}");
    assert_ended(&events);
    let events = completions::stream(&sidecar, &script, &more).await;
    assert_eq!(completions::texts(&events), expected, "{settings:?}");
    assert_ended(&events);
    let text = expected.concat();
    let answer = stack::ask(&sidecar, script.clone(), json!({})).await.json();
    assert_eq!(answer["choices"][0]["message"]["content"], text);
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    let answer = completions::ask(&sidecar, &script, &json!({})).await.json();
    assert_eq!(answer["choices"][0]["text"], text);
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
}

async fn stream_chat(sidecar: &Sidecar, script: &Value, more: &Value) -> Vec<String> {
    let mut client = sidecar.connect().await;
    let stream = client.stream(chat(script, more)).await;
    let events = Events::new(stream.expect("an answer")).rest().await;
    events.expect("the stream ends well")
}

fn chat_texts(events: &[String]) -> Vec<String> {
    let chunks = events.iter().filter(|event| event.starts_with("data: {"));
    let texts = chunks.map(|chunk| stack::content(&sse::json(chunk)).to_owned());
    texts.filter(|text| !text.is_empty()).collect()
}

/// The finish, the usage that was asked for, `[DONE]`, and each of them once.
#[track_caller]
fn assert_ended(events: &[String]) {
    let [.., finish, usage, done] = events else {
        panic!("too few events: {events:?}");
    };
    assert_eq!(sse::json(finish)["choices"][0]["finish_reason"], "stop");
    assert!(
        sse::json(usage)["usage"]["total_tokens"].as_u64() > Some(0),
        "{usage}"
    );
    assert_eq!(done, "data: [DONE]");
    let finishes = events
        .iter()
        .filter(|event| event.contains("\"finish_reason\":\""));
    assert_eq!(finishes.count(), 1, "{events:?}");
}
