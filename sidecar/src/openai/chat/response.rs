//! The response to a chat request: chunks of a stream, or one completion object.
//! OpenAI API reference, "Chat completion chunk" and "The chat completion object".

use bytes::BytesMut;
use serde::Serialize;

use crate::openai::response::budget::SpentBudget;
use crate::openai::response::chunk::{
    ChunkFrames, CompletionIdentity, CompletionObject, CompletionUsage, MessageText,
    collect_object, finish_reason,
};
use crate::openai::response::error::ApiError;
use crate::openai::response::field_names::FieldNames;
use crate::openai::response::json::to_json;
use crate::openai::response::options::{REFUSAL_TEXT, ResponseOptions};
use crate::openai::response::sse::EventFrames;
use crate::turn::{ClientTurn, Event, FinishReason, Outcome, ToolCall, Usage};

/// Prefix of the ids.
const ID_PREFIX: &str = "chatcmpl-";

/// Writes the chunks of a stream.
#[derive(Debug)]
pub struct ChatChunkWriter {
    frames: ChunkFrames,
    text: MessageText,
    /// Tool calls so far, for their `index`.
    calls: usize,
}

#[derive(Serialize)]
struct ChunkChoice<D> {
    index: u64,
    delta: D,
    finish_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    budget: Option<SpentBudget>,
}

/// The part of the message that a chunk adds.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum ChunkDelta<'a> {
    Role(&'static str),
    Content(&'a str),
    ReasoningContent(&'a str),
    Refusal(&'static str),
    ToolCalls([CallBody; 1]),
}

/// The delta of the last chunk, `{}`.
#[derive(Serialize)]
struct EmptyDelta {}

impl ChatChunkWriter {
    /// Returns the writer of one response.
    pub fn new(options: &ResponseOptions) -> Self {
        let identity = CompletionIdentity::new(ID_PREFIX, "chat.completion.chunk", options);
        Self {
            frames: ChunkFrames::new(&identity, options),
            text: MessageText::default(),
            calls: 0,
        }
    }

    fn write_delta(&self, delta: ChunkDelta<'_>, out: &mut BytesMut) {
        let choice = ChunkChoice {
            index: 0,
            delta,
            finish_reason: None,
            budget: None,
        };
        self.frames.write(&choice, out);
    }

    fn write_end(&self, reason: FinishReason, usage: Option<Usage>, out: &mut BytesMut) {
        // Before the finish reason: clients stop reading deltas there.
        if let Some(text) = refusal(reason) {
            self.write_delta(ChunkDelta::Refusal(text), out);
        }
        let choice = ChunkChoice {
            index: 0,
            delta: EmptyDelta {},
            finish_reason: Some(finish_reason(reason)),
            budget: SpentBudget::of(reason),
        };
        self.frames.write(&choice, out);
        self.frames.write_end(usage, &self.text, out);
    }
}

impl EventFrames for ChatChunkWriter {
    fn write_start(&mut self, out: &mut BytesMut) {
        self.write_delta(ChunkDelta::Role("assistant"), out);
    }

    fn write(&mut self, event: &Event, out: &mut BytesMut) {
        match event {
            Event::Heartbeat
            | Event::Used(_)
            | Event::MessagePhase(_)
            | Event::ReasoningItem(_) => {}
            Event::Text(delta) => {
                let delta = self.text.push(delta);
                self.write_delta(ChunkDelta::Content(&delta), out);
            }
            Event::MessageEnded => self.text.end_message(),
            Event::Reasoning(text) => self.write_delta(ChunkDelta::ReasoningContent(text), out),
            // The parts of the summary become paragraphs of one text.
            Event::ReasoningPartAdded => {
                self.write_delta(ChunkDelta::ReasoningContent("\n\n"), out)
            }
            Event::ToolCall(call) => {
                let call = CallBody::new(call, Some(self.calls));
                self.calls += 1;
                self.write_delta(ChunkDelta::ToolCalls([call]), out);
            }
            Event::Finished(Outcome::Completed { stop, usage }) => {
                self.write_end(*stop, *usage, out);
            }
            Event::Finished(outcome @ (Outcome::Interrupted | Outcome::Failed(_))) => {
                self.frames.write_error(outcome, &FieldNames::CHAT, out);
            }
        }
    }
}

#[derive(Serialize)]
struct ChatCompletion<'a> {
    #[serde(flatten)]
    identity: CompletionIdentity<'a>,
    choices: [ChatChoice; 1],
    usage: CompletionUsage,
}

#[derive(Serialize)]
struct ChatChoice {
    index: u64,
    message: AssistantMessage,
    logprobs: Option<()>,
    finish_reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    budget: Option<SpentBudget>,
}

#[derive(Serialize)]
struct AssistantMessage {
    role: &'static str,
    content: Option<String>,
    refusal: Option<&'static str>,
    #[serde(skip_serializing_if = "String::is_empty")]
    reasoning_content: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<CallBody>,
}

#[derive(Serialize)]
struct CallBody {
    /// Only in streams, where the index distinguishes the calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    id: String,
    r#type: &'static str,
    function: FunctionBody,
}

#[derive(Serialize)]
struct FunctionBody {
    name: String,
    arguments: String,
}

impl CallBody {
    fn new(call: &ToolCall, index: Option<usize>) -> Self {
        Self {
            index,
            id: call.call_id.clone(),
            r#type: "function",
            function: FunctionBody {
                name: call.name.clone(),
                arguments: call.arguments.clone(),
            },
        }
    }
}

/// Collects a turn into the body of one completion.
///
/// # Errors
/// The error of a turn that did not complete. The incomplete output is dropped.
pub async fn collect(options: &ResponseOptions, turn: ClientTurn) -> Result<Vec<u8>, ApiError> {
    collect_object(BufferedChat::default(), options, turn, &FieldNames::CHAT).await
}

/// The output of a turn so far.
#[derive(Default)]
struct BufferedChat {
    text: MessageText,
    content: String,
    reasoning: String,
    calls: Vec<CallBody>,
}

impl CompletionObject for BufferedChat {
    fn on_event(&mut self, event: &Event) {
        match event {
            Event::Heartbeat
            | Event::Used(_)
            | Event::MessagePhase(_)
            | Event::ReasoningItem(_)
            | Event::Finished(_) => {}
            Event::Text(delta) => self.content.push_str(&self.text.push(delta)),
            Event::MessageEnded => self.text.end_message(),
            Event::Reasoning(text) => self.reasoning.push_str(text),
            Event::ReasoningPartAdded => self.reasoning.push_str("\n\n"),
            Event::ToolCall(call) => self.calls.push(CallBody::new(call, None)),
        }
    }

    fn into_json(
        self,
        options: &ResponseOptions,
        reason: FinishReason,
        usage: Option<Usage>,
    ) -> Vec<u8> {
        let refusal = refusal(reason);
        // `content` is null only beside tool calls or a refusal: clients expect a string even if there is no text.
        let may_be_null = !self.calls.is_empty() || refusal.is_some();
        to_json(&ChatCompletion {
            identity: CompletionIdentity::new(ID_PREFIX, "chat.completion", options),
            choices: [ChatChoice {
                index: 0,
                message: AssistantMessage {
                    role: "assistant",
                    content: Some(self.content).filter(|text| !text.is_empty() || !may_be_null),
                    refusal,
                    reasoning_content: self.reasoning,
                    tool_calls: self.calls,
                },
                logprobs: None,
                finish_reason: finish_reason(reason),
                budget: SpentBudget::of(reason),
            }],
            usage: self.text.usage(usage, options.prompt_chars),
        })
    }
}

/// Returns the text of a refusal, if the turn ended with one.
fn refusal(reason: FinishReason) -> Option<&'static str> {
    (reason == FinishReason::Refused).then_some(REFUSAL_TEXT)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::openai::{Delivery, IgnoredFields};
    use crate::turn::{ToolKind, TruncationRules, TurnError};

    fn options() -> ResponseOptions {
        ResponseOptions {
            delivery: Delivery::Stream {
                include_usage: true,
            },
            ignored: IgnoredFields::default(),
            truncation: TruncationRules::default(),
            model_id: "codex-5".to_owned(),
            context_window: None,
            prompt_chars: 2,
        }
    }

    /// Returns the frames of a stream, with `HEAD` for the part that has the id and the time.
    fn frames(events: &[Event]) -> String {
        let mut writer = ChatChunkWriter::new(&options());
        let mut out = BytesMut::new();
        let head = writer.frames.head();
        writer.write_start(&mut out);
        for event in events {
            writer.write(event, &mut out);
        }
        String::from_utf8(out.to_vec())
            .unwrap()
            .replace(&head, "HEAD ")
    }

    #[test]
    fn a_completed_stream_ends_with_finish_reason_usage_and_done() {
        let usage = Usage {
            input_tokens: 11,
            cached_input_tokens: 3,
            output_tokens: 5,
            reasoning_tokens: 2,
        };
        let stop = FinishReason::Length;
        let events = [
            Event::Heartbeat,
            Event::Reasoning("Hm".to_owned()),
            Event::ReasoningPartAdded,
            Event::Text("Q\"\n é".to_owned()),
            Event::MessageEnded,
            Event::Text("2".to_owned()),
            Event::MessageEnded,
            Event::Finished(Outcome::Completed {
                stop,
                usage: Some(usage),
            }),
        ];
        expect_test::expect![[r#"
            HEAD {"index":0,"delta":{"role":"assistant"},"finish_reason":null}],"usage":null}

            HEAD {"index":0,"delta":{"reasoning_content":"Hm"},"finish_reason":null}],"usage":null}

            HEAD {"index":0,"delta":{"reasoning_content":"\n\n"},"finish_reason":null}],"usage":null}

            HEAD {"index":0,"delta":{"content":"Q\"\n é"},"finish_reason":null}],"usage":null}

            HEAD {"index":0,"delta":{"content":"\n\n2"},"finish_reason":null}],"usage":null}

            HEAD {"index":0,"delta":{},"finish_reason":"length"}],"usage":null}

            HEAD ],"usage":{"prompt_tokens":11,"completion_tokens":5,"total_tokens":16,"prompt_tokens_details":{"cached_tokens":3},"completion_tokens_details":{"reasoning_tokens":2}}}

            data: [DONE]

        "#]]
        .assert_eq(&frames(&events));
    }

    #[test]
    fn each_tool_call_is_one_chunk() {
        let call = |id: &str| {
            Event::ToolCall(ToolCall {
                call_id: id.to_owned(),
                name: "look".to_owned(),
                namespace: None,
                kind: ToolKind::Function,
                arguments: "{\"x\": 1}".to_owned(),
            })
        };
        let (stop, usage) = (FinishReason::ToolCalls, Some(Usage::default()));
        let finished = Event::Finished(Outcome::Completed { stop, usage });
        let events = [call("a"), call("b"), finished];
        expect_test::expect![[r#"
            HEAD {"index":0,"delta":{"role":"assistant"},"finish_reason":null}],"usage":null}

            HEAD {"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"look","arguments":"{\"x\": 1}"}}]},"finish_reason":null}],"usage":null}

            HEAD {"index":0,"delta":{"tool_calls":[{"index":1,"id":"b","type":"function","function":{"name":"look","arguments":"{\"x\": 1}"}}]},"finish_reason":null}],"usage":null}

            HEAD {"index":0,"delta":{},"finish_reason":"tool_calls"}],"usage":null}

            HEAD ],"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}}

            data: [DONE]

        "#]]
        .assert_eq(&frames(&events));
        let message = message(&events[..2], stop);
        assert_eq!(message["content"], Value::Null);
        assert_eq!(message["tool_calls"][1]["id"], "b");
        assert_eq!(message["tool_calls"][1]["index"], Value::Null);
    }

    fn message(events: &[Event], stop: FinishReason) -> Value {
        let mut buffered = BufferedChat::default();
        for event in events {
            buffered.on_event(event);
        }
        let json = buffered.into_json(&options(), stop, None);
        let mut body: Value = serde_json::from_slice(&json).unwrap();
        body["choices"][0]["message"].take()
    }

    #[test]
    fn a_refusal_replaces_the_content() {
        let refused = message(&[], FinishReason::Refused);
        assert_eq!(refused["refusal"], REFUSAL_TEXT);
        assert_eq!(refused["content"], Value::Null);
        let empty = message(&[], FinishReason::Stop);
        assert_eq!(empty["refusal"], Value::Null);
        assert_eq!(empty["content"], "", "clients read a string");
    }

    #[test]
    fn a_failed_stream_ends_with_one_error_frame_and_without_done() {
        for outcome in [
            Outcome::Interrupted,
            Outcome::Failed(TurnError::ChildExited),
        ] {
            let frames = frames(&[Event::Text("par".to_owned()), Event::Finished(outcome)]);
            assert_eq!(frames.matches(r#"data: {"error":{"#).count(), 1, "{frames}");
            assert!(
                !frames.contains("[DONE]") && !frames.contains(r#""finish_reason":""#),
                "{frames}"
            );
        }
    }
}
