//! Golden event streams: the frames of a turn, with stable ids and times.
//! `UPDATE_EXPECT=1` rewrites them; the diff is reviewed as protocol.

use std::num::NonZeroUsize;
use std::sync::Arc;

use bytes::BytesMut;
use expect_test::{Expect, expect};

use super::echo::TextFormat;
use super::request::{
    InputItem, InputPart, InputSummary, ReasoningOptions, ResponseRequestBody, ResponseTool,
    TextOptions,
};
use super::{ClientResponses, ResponseWriter, parse};
use crate::catalogue::Catalogue;
use crate::openai::models::ModelAccess;
use crate::openai::request::tests::fields_table::{self, ObjectFields, Parsed};
use crate::openai::response::sse::EventFrames;
use crate::store::{ResponseRecord, ResponseStore, StoreLimits};
use crate::turn::{
    Content, Event, FinishReason, Item, Message, Outcome, Profile, ReasoningItem, Role, ToolCall,
    ToolKind, TurnError, Usage,
};

/// Checks the frames of a stream; the fields of the response that only echo the request are left out.
#[expect(
    clippy::needless_pass_by_value,
    reason = "expectations are written at the call"
)]
fn check(events: &[Event], expected: Expect) {
    let store = Arc::new(ResponseStore::new(StoreLimits {
        responses: NonZeroUsize::new(1),
        bytes: 1 << 20,
        age: None,
    }));
    let responses = ClientResponses {
        store: &store,
        client: "",
    };
    let body = br#"{"model":"codex-5","input":"Hi!","include":["reasoning.encrypted_content"]}"#;
    let models = ModelAccess::new(Catalogue::of_model("gpt-5"), None);
    let (_turn, spec) = parse(body, &models, Profile::Chat, &responses).unwrap();
    let mut writer = ResponseWriter::new(spec, &store, "");
    let mut out = BytesMut::new();
    writer.write_start(&mut out);
    for event in events {
        writer.write(event, &mut out);
    }
    let frames = String::from_utf8(out.to_vec()).unwrap();
    expected.assert_eq(&stable(&frames));
}

fn stable(frames: &str) -> String {
    let (_, rest) = frames.split_once("\"id\":\"resp_").unwrap();
    let (random, _) = rest.split_once('"').unwrap();
    let stable_line = |line: &str| {
        let line = line.strip_prefix("data: ").unwrap();
        let head = line.split_once(",\"created_at\":");
        let tail = line.split_once("\"status\":");
        let echo = line.split_once(",\"model\":");
        match (head, tail, echo) {
            (Some((head, _)), Some((_, tail)), Some(_)) => {
                let (state, _) = tail.split_once(",\"model\":").unwrap();
                format!("{head},…,\"status\":{state},…}}}}\n")
            }
            _ => format!("{line}\n"),
        }
    };
    frames
        .replace(random, "ID")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with("event: "))
        .map(stable_line)
        .collect()
}

fn completed(stop: FinishReason) -> Event {
    let usage = Usage {
        input_tokens: 11,
        cached_input_tokens: 3,
        output_tokens: 5,
        reasoning_tokens: 2,
    };
    Event::Finished(Outcome::Completed {
        stop,
        usage: Some(usage),
    })
}

fn reasoning_item() -> Event {
    Event::ReasoningItem(ReasoningItem {
        summary: vec!["Hm".to_owned(), "Ah".to_owned()],
        encrypted_content: Some("gA".to_owned()),
    })
}

#[test]
fn reasoning_text_and_tool_call_have_their_events() {
    let call = ToolCall {
        call_id: "c1".to_owned(),
        name: "look".to_owned(),
        namespace: None,
        kind: ToolKind::Function,
        arguments: "{\"x\": 1}".to_owned(),
    };
    let events = [
        Event::Heartbeat,
        Event::Reasoning("H".to_owned()),
        Event::Reasoning("m".to_owned()),
        Event::ReasoningPartAdded,
        Event::Reasoning("Ah".to_owned()),
        reasoning_item(),
        Event::Text("Q\"\n ".to_owned()),
        Event::Text("é".to_owned()),
        Event::MessageEnded,
        Event::ToolCall(call),
        completed(FinishReason::ToolCalls),
    ];
    check(
        &events,
        expect![[r#"
            {"type":"response.created","sequence_number":0,"response":{"id":"resp_ID","object":"response",…,"status":"in_progress","error":null,"incomplete_details":null,"output":[],"usage":null,…}}
            {"type":"response.in_progress","sequence_number":1,"response":{"id":"resp_ID","object":"response",…,"status":"in_progress","error":null,"incomplete_details":null,"output":[],"usage":null,…}}
            {"type":"response.output_item.added","sequence_number":2,"output_index":0,"item":{"type":"reasoning","id":"rs_ID0001","summary":[],"status":"in_progress"}}
            {"type":"response.reasoning_summary_part.added","sequence_number":3,"item_id":"rs_ID0001","output_index":0,"summary_index":0,"part":{"type":"summary_text","text":""}}
            {"type":"response.reasoning_summary_text.delta","sequence_number":4,"item_id":"rs_ID0001","output_index":0,"summary_index":0,"delta":"H"}
            {"type":"response.reasoning_summary_text.delta","sequence_number":5,"item_id":"rs_ID0001","output_index":0,"summary_index":0,"delta":"m"}
            {"type":"response.reasoning_summary_text.done","sequence_number":6,"item_id":"rs_ID0001","output_index":0,"summary_index":0,"text":"Hm"}
            {"type":"response.reasoning_summary_part.done","sequence_number":7,"item_id":"rs_ID0001","output_index":0,"summary_index":0,"part":{"type":"summary_text","text":"Hm"}}
            {"type":"response.reasoning_summary_part.added","sequence_number":8,"item_id":"rs_ID0001","output_index":0,"summary_index":1,"part":{"type":"summary_text","text":""}}
            {"type":"response.reasoning_summary_text.delta","sequence_number":9,"item_id":"rs_ID0001","output_index":0,"summary_index":1,"delta":"Ah"}
            {"type":"response.reasoning_summary_text.done","sequence_number":10,"item_id":"rs_ID0001","output_index":0,"summary_index":1,"text":"Ah"}
            {"type":"response.reasoning_summary_part.done","sequence_number":11,"item_id":"rs_ID0001","output_index":0,"summary_index":1,"part":{"type":"summary_text","text":"Ah"}}
            {"type":"response.output_item.done","sequence_number":12,"output_index":0,"item":{"type":"reasoning","id":"rs_ID0001","summary":[{"type":"summary_text","text":"Hm"},{"type":"summary_text","text":"Ah"}],"encrypted_content":"gA","status":"completed"}}
            {"type":"response.output_item.added","sequence_number":13,"output_index":1,"item":{"type":"message","id":"msg_ID0002","status":"in_progress","role":"assistant","content":[]}}
            {"type":"response.content_part.added","sequence_number":14,"item_id":"msg_ID0002","output_index":1,"content_index":0,"part":{"type":"output_text","text":"","annotations":[],"logprobs":[]}}
            {"type":"response.output_text.delta","sequence_number":15,"item_id":"msg_ID0002","output_index":1,"content_index":0,"delta":"Q\"\n ","logprobs":[]}
            {"type":"response.output_text.delta","sequence_number":16,"item_id":"msg_ID0002","output_index":1,"content_index":0,"delta":"é","logprobs":[]}
            {"type":"response.output_text.done","sequence_number":17,"item_id":"msg_ID0002","output_index":1,"content_index":0,"text":"Q\"\n é","logprobs":[]}
            {"type":"response.content_part.done","sequence_number":18,"item_id":"msg_ID0002","output_index":1,"content_index":0,"part":{"type":"output_text","text":"Q\"\n é","annotations":[],"logprobs":[]}}
            {"type":"response.output_item.done","sequence_number":19,"output_index":1,"item":{"type":"message","id":"msg_ID0002","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Q\"\n é","annotations":[],"logprobs":[]}]}}
            {"type":"response.output_item.added","sequence_number":20,"output_index":2,"item":{"type":"function_call","id":"fc_ID0003","call_id":"c1","name":"look","arguments":"","status":"in_progress"}}
            {"type":"response.function_call_arguments.delta","sequence_number":21,"item_id":"fc_ID0003","output_index":2,"delta":"{\"x\": 1}"}
            {"type":"response.function_call_arguments.done","sequence_number":22,"item_id":"fc_ID0003","output_index":2,"name":"look","arguments":"{\"x\": 1}"}
            {"type":"response.output_item.done","sequence_number":23,"output_index":2,"item":{"type":"function_call","id":"fc_ID0003","call_id":"c1","name":"look","arguments":"{\"x\": 1}","status":"completed"}}
            {"type":"response.completed","sequence_number":24,"response":{"id":"resp_ID","object":"response",…,"status":"completed","error":null,"incomplete_details":null,"output":[{"type":"reasoning","id":"rs_ID0001","summary":[{"type":"summary_text","text":"Hm"},{"type":"summary_text","text":"Ah"}],"encrypted_content":"gA","status":"completed"},{"type":"message","id":"msg_ID0002","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Q\"\n é","annotations":[],"logprobs":[]}]},{"type":"function_call","id":"fc_ID0003","call_id":"c1","name":"look","arguments":"{\"x\": 1}","status":"completed"}],"usage":{"input_tokens":11,"input_tokens_details":{"cached_tokens":3},"output_tokens":5,"output_tokens_details":{"reasoning_tokens":2},"total_tokens":16},…}}
        "#]],
    );
}

/// The answer after the reasoning is empty, and is an empty message.
#[test]
fn reasoning_without_deltas_has_the_same_events() {
    check(
        &[reasoning_item(), completed(FinishReason::Stop)],
        expect![[r#"
            {"type":"response.created","sequence_number":0,"response":{"id":"resp_ID","object":"response",…,"status":"in_progress","error":null,"incomplete_details":null,"output":[],"usage":null,…}}
            {"type":"response.in_progress","sequence_number":1,"response":{"id":"resp_ID","object":"response",…,"status":"in_progress","error":null,"incomplete_details":null,"output":[],"usage":null,…}}
            {"type":"response.output_item.added","sequence_number":2,"output_index":0,"item":{"type":"reasoning","id":"rs_ID0001","summary":[],"status":"in_progress"}}
            {"type":"response.reasoning_summary_part.added","sequence_number":3,"item_id":"rs_ID0001","output_index":0,"summary_index":0,"part":{"type":"summary_text","text":""}}
            {"type":"response.reasoning_summary_text.delta","sequence_number":4,"item_id":"rs_ID0001","output_index":0,"summary_index":0,"delta":"Hm"}
            {"type":"response.reasoning_summary_text.done","sequence_number":5,"item_id":"rs_ID0001","output_index":0,"summary_index":0,"text":"Hm"}
            {"type":"response.reasoning_summary_part.done","sequence_number":6,"item_id":"rs_ID0001","output_index":0,"summary_index":0,"part":{"type":"summary_text","text":"Hm"}}
            {"type":"response.reasoning_summary_part.added","sequence_number":7,"item_id":"rs_ID0001","output_index":0,"summary_index":1,"part":{"type":"summary_text","text":""}}
            {"type":"response.reasoning_summary_text.delta","sequence_number":8,"item_id":"rs_ID0001","output_index":0,"summary_index":1,"delta":"Ah"}
            {"type":"response.reasoning_summary_text.done","sequence_number":9,"item_id":"rs_ID0001","output_index":0,"summary_index":1,"text":"Ah"}
            {"type":"response.reasoning_summary_part.done","sequence_number":10,"item_id":"rs_ID0001","output_index":0,"summary_index":1,"part":{"type":"summary_text","text":"Ah"}}
            {"type":"response.output_item.done","sequence_number":11,"output_index":0,"item":{"type":"reasoning","id":"rs_ID0001","summary":[{"type":"summary_text","text":"Hm"},{"type":"summary_text","text":"Ah"}],"encrypted_content":"gA","status":"completed"}}
            {"type":"response.output_item.added","sequence_number":12,"output_index":1,"item":{"type":"message","id":"msg_ID0002","status":"in_progress","role":"assistant","content":[]}}
            {"type":"response.content_part.added","sequence_number":13,"item_id":"msg_ID0002","output_index":1,"content_index":0,"part":{"type":"output_text","text":"","annotations":[],"logprobs":[]}}
            {"type":"response.output_text.done","sequence_number":14,"item_id":"msg_ID0002","output_index":1,"content_index":0,"text":"","logprobs":[]}
            {"type":"response.content_part.done","sequence_number":15,"item_id":"msg_ID0002","output_index":1,"content_index":0,"part":{"type":"output_text","text":"","annotations":[],"logprobs":[]}}
            {"type":"response.output_item.done","sequence_number":16,"output_index":1,"item":{"type":"message","id":"msg_ID0002","status":"completed","role":"assistant","content":[{"type":"output_text","text":"","annotations":[],"logprobs":[]}]}}
            {"type":"response.completed","sequence_number":17,"response":{"id":"resp_ID","object":"response",…,"status":"completed","error":null,"incomplete_details":null,"output":[{"type":"reasoning","id":"rs_ID0001","summary":[{"type":"summary_text","text":"Hm"},{"type":"summary_text","text":"Ah"}],"encrypted_content":"gA","status":"completed"},{"type":"message","id":"msg_ID0002","status":"completed","role":"assistant","content":[{"type":"output_text","text":"","annotations":[],"logprobs":[]}]}],"usage":{"input_tokens":11,"input_tokens_details":{"cached_tokens":3},"output_tokens":5,"output_tokens_details":{"reasoning_tokens":2},"total_tokens":16},…}}
        "#]],
    );
}

#[test]
fn truncated_text_ends_the_response_as_incomplete() {
    let events = [
        Event::Text("one".to_owned()),
        completed(FinishReason::Length),
    ];
    check(
        &events,
        expect![[r#"
        {"type":"response.created","sequence_number":0,"response":{"id":"resp_ID","object":"response",…,"status":"in_progress","error":null,"incomplete_details":null,"output":[],"usage":null,…}}
        {"type":"response.in_progress","sequence_number":1,"response":{"id":"resp_ID","object":"response",…,"status":"in_progress","error":null,"incomplete_details":null,"output":[],"usage":null,…}}
        {"type":"response.output_item.added","sequence_number":2,"output_index":0,"item":{"type":"message","id":"msg_ID0001","status":"in_progress","role":"assistant","content":[]}}
        {"type":"response.content_part.added","sequence_number":3,"item_id":"msg_ID0001","output_index":0,"content_index":0,"part":{"type":"output_text","text":"","annotations":[],"logprobs":[]}}
        {"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_ID0001","output_index":0,"content_index":0,"delta":"one","logprobs":[]}
        {"type":"response.output_text.done","sequence_number":5,"item_id":"msg_ID0001","output_index":0,"content_index":0,"text":"one","logprobs":[]}
        {"type":"response.content_part.done","sequence_number":6,"item_id":"msg_ID0001","output_index":0,"content_index":0,"part":{"type":"output_text","text":"one","annotations":[],"logprobs":[]}}
        {"type":"response.output_item.done","sequence_number":7,"output_index":0,"item":{"type":"message","id":"msg_ID0001","status":"incomplete","role":"assistant","content":[{"type":"output_text","text":"one","annotations":[],"logprobs":[]}]}}
        {"type":"response.incomplete","sequence_number":8,"response":{"id":"resp_ID","object":"response",…,"status":"incomplete","error":null,"incomplete_details":{"reason":"max_output_tokens"},"output":[{"type":"message","id":"msg_ID0001","status":"incomplete","role":"assistant","content":[{"type":"output_text","text":"one","annotations":[],"logprobs":[]}]}],"usage":{"input_tokens":11,"input_tokens_details":{"cached_tokens":3},"output_tokens":5,"output_tokens_details":{"reasoning_tokens":2},"total_tokens":16},…}}
    "#]],
    );
}

#[test]
fn a_refusal_is_a_message_with_a_refusal_part() {
    check(
        &[completed(FinishReason::Refused)],
        expect![[r#"
        {"type":"response.created","sequence_number":0,"response":{"id":"resp_ID","object":"response",…,"status":"in_progress","error":null,"incomplete_details":null,"output":[],"usage":null,…}}
        {"type":"response.in_progress","sequence_number":1,"response":{"id":"resp_ID","object":"response",…,"status":"in_progress","error":null,"incomplete_details":null,"output":[],"usage":null,…}}
        {"type":"response.output_item.added","sequence_number":2,"output_index":0,"item":{"type":"message","id":"msg_ID0001","status":"in_progress","role":"assistant","content":[]}}
        {"type":"response.content_part.added","sequence_number":3,"item_id":"msg_ID0001","output_index":0,"content_index":0,"part":{"type":"refusal","refusal":""}}
        {"type":"response.refusal.delta","sequence_number":4,"item_id":"msg_ID0001","output_index":0,"content_index":0,"delta":"The model refused to answer. Codex does not forward the text of a refusal."}
        {"type":"response.refusal.done","sequence_number":5,"item_id":"msg_ID0001","output_index":0,"content_index":0,"refusal":"The model refused to answer. Codex does not forward the text of a refusal."}
        {"type":"response.content_part.done","sequence_number":6,"item_id":"msg_ID0001","output_index":0,"content_index":0,"part":{"type":"refusal","refusal":"The model refused to answer. Codex does not forward the text of a refusal."}}
        {"type":"response.output_item.done","sequence_number":7,"output_index":0,"item":{"type":"message","id":"msg_ID0001","status":"completed","role":"assistant","content":[{"type":"refusal","refusal":"The model refused to answer. Codex does not forward the text of a refusal."}]}}
        {"type":"response.completed","sequence_number":8,"response":{"id":"resp_ID","object":"response",…,"status":"completed","error":null,"incomplete_details":null,"output":[{"type":"message","id":"msg_ID0001","status":"completed","role":"assistant","content":[{"type":"refusal","refusal":"The model refused to answer. Codex does not forward the text of a refusal."}]}],"usage":{"input_tokens":11,"input_tokens_details":{"cached_tokens":3},"output_tokens":5,"output_tokens_details":{"reasoning_tokens":2},"total_tokens":16},…}}
    "#]],
    );
}

#[test]
fn a_failed_turn_ends_with_response_failed_and_error() {
    let failed = Event::Finished(Outcome::Failed(TurnError::ContextLength));
    check(
        &[Event::Text("par".to_owned()), failed],
        expect![[r#"
        {"type":"response.created","sequence_number":0,"response":{"id":"resp_ID","object":"response",…,"status":"in_progress","error":null,"incomplete_details":null,"output":[],"usage":null,…}}
        {"type":"response.in_progress","sequence_number":1,"response":{"id":"resp_ID","object":"response",…,"status":"in_progress","error":null,"incomplete_details":null,"output":[],"usage":null,…}}
        {"type":"response.output_item.added","sequence_number":2,"output_index":0,"item":{"type":"message","id":"msg_ID0001","status":"in_progress","role":"assistant","content":[]}}
        {"type":"response.content_part.added","sequence_number":3,"item_id":"msg_ID0001","output_index":0,"content_index":0,"part":{"type":"output_text","text":"","annotations":[],"logprobs":[]}}
        {"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_ID0001","output_index":0,"content_index":0,"delta":"par","logprobs":[]}
        {"type":"response.output_text.done","sequence_number":5,"item_id":"msg_ID0001","output_index":0,"content_index":0,"text":"par","logprobs":[]}
        {"type":"response.content_part.done","sequence_number":6,"item_id":"msg_ID0001","output_index":0,"content_index":0,"part":{"type":"output_text","text":"par","annotations":[],"logprobs":[]}}
        {"type":"response.output_item.done","sequence_number":7,"output_index":0,"item":{"type":"message","id":"msg_ID0001","status":"incomplete","role":"assistant","content":[{"type":"output_text","text":"par","annotations":[],"logprobs":[]}]}}
        {"type":"response.failed","sequence_number":8,"response":{"id":"resp_ID","object":"response",…,"status":"failed","error":{"code":"context_length_exceeded","message":"The conversation exceeds the model's maximum context length; shorten it and try again."},"incomplete_details":null,"output":[{"type":"message","id":"msg_ID0001","status":"incomplete","role":"assistant","content":[{"type":"output_text","text":"par","annotations":[],"logprobs":[]}]}],"usage":null,…}}
        {"type":"error","sequence_number":9,"code":"context_length_exceeded","message":"The conversation exceeds the model's maximum context length; shorten it and try again.","param":"input","error":{"message":"The conversation exceeds the model's maximum context length; shorten it and try again.","type":"invalid_request_error","param":"input","code":"context_length_exceeded"}}
    "#]],
    );
}

#[test]
fn reasoning_of_a_failed_turn_is_incomplete() {
    check(
        &[
            Event::Reasoning("H".to_owned()),
            Event::Finished(Outcome::Failed(TurnError::ChildExited)),
        ],
        expect![[r#"
            {"type":"response.created","sequence_number":0,"response":{"id":"resp_ID","object":"response",…,"status":"in_progress","error":null,"incomplete_details":null,"output":[],"usage":null,…}}
            {"type":"response.in_progress","sequence_number":1,"response":{"id":"resp_ID","object":"response",…,"status":"in_progress","error":null,"incomplete_details":null,"output":[],"usage":null,…}}
            {"type":"response.output_item.added","sequence_number":2,"output_index":0,"item":{"type":"reasoning","id":"rs_ID0001","summary":[],"status":"in_progress"}}
            {"type":"response.reasoning_summary_part.added","sequence_number":3,"item_id":"rs_ID0001","output_index":0,"summary_index":0,"part":{"type":"summary_text","text":""}}
            {"type":"response.reasoning_summary_text.delta","sequence_number":4,"item_id":"rs_ID0001","output_index":0,"summary_index":0,"delta":"H"}
            {"type":"response.reasoning_summary_text.done","sequence_number":5,"item_id":"rs_ID0001","output_index":0,"summary_index":0,"text":"H"}
            {"type":"response.reasoning_summary_part.done","sequence_number":6,"item_id":"rs_ID0001","output_index":0,"summary_index":0,"part":{"type":"summary_text","text":"H"}}
            {"type":"response.output_item.done","sequence_number":7,"output_index":0,"item":{"type":"reasoning","id":"rs_ID0001","summary":[{"type":"summary_text","text":"H"}],"status":"incomplete"}}
            {"type":"response.failed","sequence_number":8,"response":{"id":"resp_ID","object":"response",…,"status":"failed","error":{"code":"server_error","message":"The Codex process ended before the answer was complete."},"incomplete_details":null,"output":[{"type":"reasoning","id":"rs_ID0001","summary":[{"type":"summary_text","text":"H"}],"status":"incomplete"}],"usage":null,…}}
            {"type":"error","sequence_number":9,"code":"codex_failed","message":"The Codex process ended before the answer was complete.","param":null,"error":{"message":"The Codex process ended before the answer was complete.","type":"server_error","param":null,"code":"codex_failed"}}
        "#]],
    );
}

#[test]
fn the_table_of_fields_matches_the_parser() {
    let store = Arc::new(ResponseStore::new(StoreLimits {
        responses: NonZeroUsize::new(9),
        bytes: 1 << 20,
        age: None,
    }));
    // The second is that of the item to which a row refers.
    for id in ["resp_1", "resp_0123456789abcdefghijklmn"] {
        let running = store.begin("", id, bytes::Bytes::new());
        running.store(ResponseRecord {
            document: bytes::Bytes::new(),
            previous: None,
            items: vec![Item::Message(Message {
                role: Role::User,
                content: vec![Content::Text("Hi.".to_owned())],
                phase: None,
            })],
            input_len: 1,
            continuable: true,
        });
    }
    let responses = ClientResponses {
        store: &store,
        client: "",
    };
    let base = r#"{"model":"codex-5","input":"Hi."}"#;
    let objects = [
        ObjectFields::of::<InputItem>("input[]"),
        ObjectFields::of::<InputPart>("input[].content[]"),
        ObjectFields::of::<InputSummary>("input[].summary[]"),
        ObjectFields::of::<ResponseTool>("tools[]"),
        ObjectFields::of::<TextOptions>("text"),
        ObjectFields::of::<TextFormat>("text.format"),
        ObjectFields::of::<ReasoningOptions>("reasoning"),
    ];
    fields_table::check::<ResponseRequestBody>("/v1/responses", base, &objects, |body| {
        let models = ModelAccess::new(Catalogue::of_model("gpt-5"), None);
        let (turn, spec) = parse(body, &models, Profile::Chat, &responses)?;
        let ignored = spec.options.ignored.list();
        let (options, echo) = (&spec.options, &spec.echo);
        Ok(Parsed {
            meaning: format!(
                "{turn:?} {} {:?} {:?} {} {} {:?} {:?}",
                turn.prompt_chars(),
                options.truncation,
                options.delivery,
                spec.store,
                spec.encrypted_reasoning,
                spec.previous.is_some(),
                echo.metadata,
            ),
            ignored,
        })
    });
}
