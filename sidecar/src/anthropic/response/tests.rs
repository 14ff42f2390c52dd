//! Golden streams and messages of the same events.

use bytes::BytesMut;
use serde_json::{Value, json};

use super::message::BufferedMessage;
use super::stream::MessageWriter;
use crate::anthropic::request::{MessageSpec, ThinkingDisplay};
use crate::openai::{Delivery, EventFrames, IgnoredFields, ResponseOptions};
use crate::turn::{
    Event, FinishReason, Outcome, ReasoningItem, ToolCall, ToolKind, TruncationRules, TurnError,
    Usage,
};

fn spec(thinking: ThinkingDisplay) -> MessageSpec {
    MessageSpec {
        options: ResponseOptions {
            delivery: Delivery::Buffered,
            ignored: IgnoredFields::default(),
            truncation: TruncationRules {
                stop: vec!["A".to_owned(), "B".to_owned()],
                ..TruncationRules::default()
            },
            model_id: "claude-x".to_owned(),
            context_window: Some(100),
            prompt_chars: 8,
        },
        user_id: None,
        thinking,
    }
}

/// Returns the frames of a stream, with `ID` for the id of the message.
fn frames(thinking: ThinkingDisplay, events: &[Event]) -> String {
    let mut writer = MessageWriter::new(spec(thinking), Some("r1".to_owned()));
    let mut out = BytesMut::new();
    writer.write_start(&mut out);
    for event in events {
        writer.write(event, &mut out);
    }
    let text = String::from_utf8(out.to_vec()).unwrap();
    let id = text.split('"').find(|part| part.starts_with("msg_"));
    text.replace(id.expect("the message has an id"), "ID")
}

fn message(thinking: ThinkingDisplay, events: &[Event]) -> Value {
    let spec = spec(thinking);
    let mut message = BufferedMessage::new(&spec);
    for event in events {
        message.on_event(event);
    }
    let Some(Event::Finished(Outcome::Completed { stop, usage })) = events.last() else {
        panic!("the turn completes");
    };
    serde_json::from_slice(&message.into_json(*stop, *usage)).unwrap()
}

fn finished(stop: FinishReason) -> Event {
    let usage = Some(Usage {
        input_tokens: 11,
        cached_input_tokens: 3,
        output_tokens: 5,
        reasoning_tokens: 2,
    });
    Event::Finished(Outcome::Completed { stop, usage })
}

fn item(encrypted: Option<&str>) -> Event {
    Event::ReasoningItem(ReasoningItem {
        summary: Vec::new(),
        encrypted_content: encrypted.map(str::to_owned),
    })
}

fn text(text: &str) -> Event {
    Event::Text(text.to_owned())
}

fn call(arguments: &str) -> Event {
    Event::ToolCall(ToolCall {
        call_id: "call_1".to_owned(),
        name: "look".to_owned(),
        namespace: None,
        kind: ToolKind::Function,
        arguments: arguments.to_owned(),
    })
}

/// Thinking, two messages and a call.
fn answer() -> Vec<Event> {
    vec![
        Event::Heartbeat,
        Event::Reasoning("Hm".to_owned()),
        Event::ReasoningPartAdded,
        Event::Reasoning("so".to_owned()),
        item(Some("gA")),
        text("Q\"\n é"),
        text("."),
        Event::MessageEnded,
        text("2"),
        Event::MessageEnded,
        call("{\"x\": 1}"),
        finished(FinishReason::ToolCalls),
    ]
}

#[test]
fn stream_of_thinking_texts_and_a_call() {
    expect_test::expect![[r#"
        event: message_start
        data: {"type":"message_start","message":{"id":"ID","type":"message","role":"assistant","model":"claude-x","content":[],"stop_reason":null,"stop_sequence":null,"stop_details":null,"usage":{"input_tokens":2,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0,"output_tokens_details":{"thinking_tokens":0},"cache_creation":null,"inference_geo":null,"server_tool_use":null,"service_tier":null},"container":null}}

        event: content_block_start
        data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}

        event: content_block_delta
        data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Hm"}}

        event: content_block_delta
        data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"\n\n"}}

        event: content_block_delta
        data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"so"}}

        event: content_block_delta
        data: {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"codex.gA"}}

        event: content_block_stop
        data: {"type":"content_block_stop","index":0}

        event: content_block_start
        data: {"type":"content_block_start","index":1,"content_block":{"type":"text","text":"","citations":null}}

        event: content_block_delta
        data: {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"Q\"\n é"}}

        event: content_block_delta
        data: {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"."}}

        event: content_block_stop
        data: {"type":"content_block_stop","index":1}

        event: content_block_start
        data: {"type":"content_block_start","index":2,"content_block":{"type":"text","text":"","citations":null}}

        event: content_block_delta
        data: {"type":"content_block_delta","index":2,"delta":{"type":"text_delta","text":"2"}}

        event: content_block_stop
        data: {"type":"content_block_stop","index":2}

        event: content_block_start
        data: {"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"call_1","name":"look","input":{},"caller":{"type":"direct"}}}

        event: content_block_delta
        data: {"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":"{\"x\": 1}"}}

        event: content_block_stop
        data: {"type":"content_block_stop","index":3}

        event: message_delta
        data: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null,"stop_details":null},"usage":{"input_tokens":8,"cache_creation_input_tokens":0,"cache_read_input_tokens":3,"output_tokens":5,"output_tokens_details":{"thinking_tokens":2},"cache_creation":null,"inference_geo":null,"server_tool_use":null,"service_tier":null}}

        event: message_stop
        data: {"type":"message_stop"}

    "#]]
    .assert_eq(&frames(ThinkingDisplay::Summarized, &answer()));
}

#[test]
fn message_has_the_blocks_of_the_stream() {
    let message = message(ThinkingDisplay::Summarized, &answer());
    let expected = json!([
        {"type": "thinking", "thinking": "Hm\n\nso", "signature": "codex.gA"},
        {"type": "text", "text": "Q\"\n é.", "citations": null},
        {"type": "text", "text": "2", "citations": null},
        {"type": "tool_use", "id": "call_1", "name": "look", "input": {"x": 1}, "caller": {"type": "direct"}},
    ]);
    assert_eq!(message["content"], expected);
    assert_eq!(message["stop_reason"], "tool_use");
    let usage = &message["usage"];
    for (name, tokens) in [
        ("input_tokens", 8),
        ("cache_creation_input_tokens", 0),
        ("cache_read_input_tokens", 3),
        ("output_tokens", 5),
    ] {
        assert_eq!(usage[name], tokens, "{name}");
    }
    assert_eq!(usage["output_tokens_details"]["thinking_tokens"], 2);
    assert_eq!(message["model"], "claude-x");
}

#[test]
fn display_decides_on_the_form_of_the_thinking() {
    let with_summary = [Event::Reasoning("Hm".to_owned()), item(Some("gA"))];
    let without = [item(Some("gA"))];
    let unsigned = [Event::Reasoning("Hm".to_owned())];
    for (display, events, expected) in [
        (ThinkingDisplay::Off, &with_summary[..], json!([])),
        (
            ThinkingDisplay::Omitted,
            &with_summary,
            json!([{"type": "thinking", "thinking": "", "signature": "codex.gA"}]),
        ),
        (
            ThinkingDisplay::Omitted,
            &without,
            json!([{"type": "thinking", "thinking": "", "signature": "codex.gA"}]),
        ),
        (
            ThinkingDisplay::Summarized,
            &without,
            json!([{"type": "redacted_thinking", "data": "codex.gA"}]),
        ),
        (
            ThinkingDisplay::Summarized,
            &unsigned,
            json!([{"type": "thinking", "thinking": "Hm", "signature": "codex."}]),
        ),
        (ThinkingDisplay::Summarized, &[item(None)], json!([])),
    ] {
        let events = [events, &[finished(FinishReason::Stop)]].concat();
        let message = message(display, &events);
        assert_eq!(message["content"], expected, "{display:?} {events:?}");
    }
}

#[test]
fn each_end_has_its_stop_reason() {
    for (reason, stop_reason, sequence) in [
        (FinishReason::Stop, "end_turn", Value::Null),
        (FinishReason::StopSequence(1), "stop_sequence", json!("B")),
        (FinishReason::Length, "max_tokens", Value::Null),
        (FinishReason::Refused, "refusal", Value::Null),
        (FinishReason::ContentFilter, "refusal", Value::Null),
    ] {
        let message = message(ThinkingDisplay::Off, &[finished(reason)]);
        assert_eq!(message["stop_reason"], stop_reason);
        assert_eq!(message["stop_sequence"], sequence);
        let is_refusal = message["stop_details"]["type"] == "refusal";
        assert_eq!(is_refusal, stop_reason == "refusal");
    }
}

#[test]
fn arguments_that_are_not_an_object_are_wrapped() {
    let events = [call("{\"x\":"), finished(FinishReason::ToolCalls)];
    let wrapped = json!({"INVALID_JSON": "{\"x\":"});
    assert_eq!(
        message(ThinkingDisplay::Off, &events)["content"][0]["input"],
        wrapped
    );
    let frames = frames(ThinkingDisplay::Off, &events);
    let partial = json!(wrapped.to_string()).to_string();
    assert!(
        frames.contains(&format!("\"partial_json\":{partial}")),
        "{frames}"
    );
}

#[test]
fn failed_stream_ends_with_one_error_event() {
    let events = [
        text("par"),
        Event::Finished(Outcome::Failed(TurnError::ContextLength)),
    ];
    let frames = frames(ThinkingDisplay::Off, &events);
    let error = r#"event: error
data: {"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 101 tokens > 100 maximum","details":{"error_code":"context_length_exceeded"}},"request_id":"r1"}

"#;
    assert!(frames.ends_with(error), "{frames}");
    assert!(!frames.contains("message_stop") && !frames.contains("stop_reason\":\""));
}
