//! `<use_tool>` blocks in a text: suppression of the text after them, and the settings under which they end the turn.
//! The example is from the Node proxy that this gateway replaces. A truncated response has the usual end: finish reason
//! `stop`, usage, `[DONE]`. Each case runs as a chat and as a legacy completion.

use serde_json::{Value, json};
use tests::sidecar::Sidecar;
use tests::sse::{self, Events};

use crate::chats::completions;
use crate::stack::{self, chat, start_with};

/// An environment variable and its value.
type Setting = (&'static str, &'static str);

const SUPPRESS: Setting = ("PROXY_SUPPRESS_TAIL_AFTER_TOOLS", "true");
const STOP: Setting = ("PROXY_STOP_AFTER_TOOLS", "true");
const FIRST: Setting = ("PROXY_STOP_AFTER_TOOLS_MODE", "first");
const GRACE: Setting = ("PROXY_STOP_AFTER_TOOLS_GRACE_MS", "200");
const ONE: Setting = ("PROXY_TOOL_BLOCK_MAX", "1");
const TWO: Setting = ("PROXY_TOOL_BLOCK_MAX", "2");

/// The point at which the model stops sending and keeps the request open.
#[derive(Clone, Copy)]
enum ModelSilence {
    Never,
    /// After this number of deltas.
    After(usize),
}

const DELTAS: [&str; 5] = [
    "A <use_",
    "tool>a</use_tool>",
    " mid ",
    "<use_tool>b</use_tool>",
    " TAIL",
];

/// The chunks of a client that gets both blocks: the text between them is held until the second block is complete.
const BOTH: [&str; 3] = [DELTAS[0], DELTAS[1], " mid <use_tool>b</use_tool>"];

fn script(silence: ModelSilence) -> Value {
    let delta = |text: &&str| json!({"text": text, "open": *text != DELTAS[4]});
    let mut steps: Vec<Value> = DELTAS.iter().map(delta).collect();
    if let ModelSilence::After(deltas) = silence {
        steps.insert(deltas, json!({"hold": "never"}));
    }
    steps.into()
}

#[tokio::test]
async fn without_settings_all_text_is_forwarded() {
    check(&[], ModelSilence::Never, &DELTAS).await;
}

#[tokio::test]
async fn suppressed_tail_is_omitted_and_the_turn_continues() {
    check(&[SUPPRESS], ModelSilence::Never, &BOTH).await;
}

#[tokio::test]
async fn first_block_ends_the_turn_at_once() {
    check(&[STOP, FIRST], ModelSilence::After(2), &DELTAS[..2]).await;
    check(&[STOP, FIRST, TWO], ModelSilence::After(2), &DELTAS[..2]).await;
}

#[tokio::test]
async fn block_limit_ends_the_turn_at_once() {
    check(&[STOP, TWO], ModelSilence::After(4), &BOTH).await;
    check(&[ONE], ModelSilence::After(2), &DELTAS[..2]).await;
    check(&[TWO], ModelSilence::After(4), &BOTH).await;
}

#[tokio::test]
async fn burst_ends_the_turn_after_the_grace_period() {
    check(&[STOP, GRACE], ModelSilence::After(4), &BOTH).await;
    check(&[STOP, GRACE], ModelSilence::After(3), &DELTAS[..2]).await;
    check(&[STOP, GRACE], ModelSilence::Never, &BOTH).await;
}

/// Checks the text of a chat and of a legacy completion, each streamed and buffered.
async fn check(settings: &[Setting], silence: ModelSilence, expected: &[&str]) {
    let (_model, sidecar) = start_with(|options| {
        settings
            .iter()
            .fold(options, |options, (name, value)| options.env(name, value))
    })
    .await;
    let script = script(silence);
    let more = json!({"stream": true, "include_usage": true});
    let events = stream_chat(&sidecar, &script, &more).await;
    assert_eq!(chat_texts(&events), expected, "{settings:?}");
    assert_ended(&events);
    let events = completions::stream(&sidecar, &script, &more).await;
    assert_eq!(completions::texts(&events), expected, "{settings:?}");
    assert_ended(&events);
    let text = expected.concat();
    let response = stack::ask(&sidecar, script.clone(), json!({})).await.json();
    assert_eq!(response["choices"][0]["message"]["content"], text);
    assert_eq!(response["choices"][0]["finish_reason"], "stop");
    let response = completions::ask(&sidecar, &script, &json!({})).await.json();
    assert_eq!(response["choices"][0]["text"], text);
    assert_eq!(response["choices"][0]["finish_reason"], "stop");
}

async fn stream_chat(sidecar: &Sidecar, script: &Value, more: &Value) -> Vec<String> {
    let mut client = sidecar.connect().await;
    let stream = client.stream(chat(script, more)).await;
    let events = Events::new(stream.expect("a response arrives"))
        .rest()
        .await;
    events.expect("the stream ends without a transport error")
}

fn chat_texts(events: &[String]) -> Vec<String> {
    let chunks = events.iter().filter(|event| event.starts_with("data: {"));
    let texts = chunks.map(|chunk| stack::content(&sse::json(chunk)).to_owned());
    texts.filter(|text| !text.is_empty()).collect()
}

/// Asserts that a stream ends with one finish reason, the requested usage, and `[DONE]`.
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
