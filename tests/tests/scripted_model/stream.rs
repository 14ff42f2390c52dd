//! Streamed responses on the wire.
//! Follows OpenAI's Responses API, streaming events.

use std::time::Duration;

use expect_test::expect_file;
use serde_json::{Value, json};

use crate::{SOON, begin, events, play, start, text};

#[tokio::test]
async fn each_kind_of_item_streams_its_events() {
    let model = start().await;
    let steps = json!([
        {"reasoning": ["first", "second"], "raw": "raw", "encrypted_content": "secret", "delta_chars": 4},
        {"text": "Hello", "phase": "commentary", "delta_chars": 3},
        {"refusal": "No."},
        {"call": "get_weather", "arguments": {"city": "Oslo"}, "call_id": "call_1", "delta_chars": 8},
        {"call": "search", "arguments": "not JSON", "namespace": "mcp__lab"},
        {"custom_call": "apply_patch", "input": "*** Begin Patch"},
        {"usage": {"input_tokens": 11, "cached_tokens": 3, "output_tokens": 5, "reasoning_tokens": 2}},
    ]);
    let response = play(&model, &steps).await;
    assert_eq!(
        response.header("content-type"),
        "text/event-stream; charset=utf-8"
    );
    let lines = events(&response.body).into_iter().map(stable);
    let transcript: String = lines.map(|event| format!("{event}\n")).collect();
    expect_file!["../../golden/scripted_model/items.jsonl"].assert_eq(&transcript);
}

/// The event with a placeholder for its time.
fn stable(mut event: Value) -> Value {
    if let Some(created_at) = event.pointer_mut("/response/created_at") {
        assert!(created_at.is_u64());
        *created_at = "[time]".into();
    }
    event
}

#[tokio::test]
async fn deltas_are_at_least_delay_ms_apart() {
    let model = start().await;
    let steps = json!({"text": "äöü!", "delta_chars": 1, "delay_ms": 40});
    let (_client, mut stream) = begin(&model, &steps).await;
    let mut deltas = Vec::new();
    while let Some(chunk) = stream.next().await.expect("the stream is complete") {
        let event = String::from_utf8_lossy(&chunk.data).into_owned();
        if event.contains("output_text.delta") {
            deltas.push(chunk.at);
        }
    }
    assert_eq!(deltas.len(), 4);
    for pair in deltas.windows(2) {
        assert!(pair[1] - pair[0] >= Duration::from_millis(20), "{deltas:?}");
    }
}

#[tokio::test]
async fn writes_option_controls_the_number_of_chunks() {
    let model = start().await;
    for (writes, chunks_in) in [
        (json!("per_event"), 13..=13),
        (json!("burst"), 1..=1),
        (json!({"bytes": 5}), 400..=4000),
    ] {
        let steps = json!({"text": "Grüße", "delta_chars": 1, "writes": writes});
        let (_client, mut stream) = begin(&model, &steps).await;
        let mut chunks = Vec::new();
        while let Some(chunk) = stream.next().await.expect("the stream is complete") {
            chunks.push(chunk.data);
        }
        assert_eq!(events(&chunks.concat()).len(), 13);
        assert!(
            chunks_in.contains(&chunks.len()),
            "{} for {writes}",
            chunks.len()
        );
    }
}

#[tokio::test]
async fn abort_cut_ends_the_stream_inside_an_event() {
    let model = start().await;
    let steps = json!([{"text": "Hello", "open": true}, {"cut": "abort"}]);
    let (_client, mut stream) = begin(&model, &steps).await;
    let mut read = Vec::new();
    let error = loop {
        match stream.next().await {
            Ok(chunk) => read.extend(chunk.expect("the body must be cut off").data),
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("reading a body"), "{error}");
    let read = String::from_utf8(read).expect("the stream is UTF-8");
    assert!(read.contains(r#""delta":"Hello""#), "{read}");
    assert!(!read.ends_with("\n\n"), "{read}");
}

#[tokio::test]
async fn clean_cut_ends_the_body_without_a_last_event() {
    let model = start().await;
    let response = play(
        &model,
        &json!([{"text": "Hello", "open": true}, {"cut": "clean"}]),
    )
    .await;
    let events = events(&response.body);
    let last = events.last().expect("there are events");
    assert_eq!(last["type"], "response.output_text.delta");
}

#[tokio::test]
async fn end_step_selects_the_last_event() {
    let model = start().await;
    for (end, kind, pointer, value) in [
        (
            json!({"failed": "server_error", "message": "Sorry."}),
            "response.failed",
            "/response/error/message",
            "Sorry.",
        ),
        (
            json!({"failed": "slow_down"}),
            "response.failed",
            "/response/error/code",
            "slow_down",
        ),
        (
            json!({"incomplete": "max_output_tokens"}),
            "response.incomplete",
            "/response/incomplete_details/reason",
            "max_output_tokens",
        ),
    ] {
        let response = play(&model, &json!([{"text": "Hello"}, end])).await;
        let events = events(&response.body);
        let last = events.last().expect("there are events");
        assert_eq!(last["type"], kind);
        assert_eq!(last.pointer(pointer), Some(&json!(value)), "{last}");
    }
}

#[tokio::test]
async fn open_message_is_continued_by_the_next_message_step() {
    let model = start().await;
    let steps = json!([{"text": "Hel", "open": true}, {"hold": "middle"}, {"text": "lo"}]);
    let (_client, mut stream) = begin(&model, &steps).await;
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(r#""delta":"Hel""#) {
        read.extend(
            stream
                .next()
                .await
                .expect("the stream continues")
                .expect("the stream has not ended")
                .data,
        );
    }
    let silence = tokio::time::timeout(Duration::from_millis(100), stream.next()).await;
    assert!(silence.is_err(), "no event may arrive before the release");
    model.release("middle");
    let rest = tokio::time::timeout(SOON, stream.collect())
        .await
        .expect("the stream continues at once")
        .expect("the stream is complete");
    read.extend(rest.body);
    let events = events(&read);
    let done: Vec<_> = events
        .iter()
        .filter(|event| event["type"] == "response.output_text.done")
        .collect();
    assert_eq!(done.len(), 1);
    assert_eq!(done[0]["text"], "Hello");
}

#[tokio::test]
async fn chars_step_sends_a_text_of_the_requested_length() {
    let model = start().await;
    let response = play(
        &model,
        &json!({"chars": 100_000, "delta_chars": 1000, "writes": "burst"}),
    )
    .await;
    assert_eq!(text(&response).len(), 100_000);
}
