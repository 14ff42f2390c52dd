//! The answer of a chat: chunks of a stream, or one completion.
//! OpenAI API reference, "Chat completion chunk" and "The chat completion object".

use bytes::BytesMut;
use serde::Serialize;

use crate::openai::response::error::{ApiError, of_outcome};
use crate::openai::response::options::{
    Frames, Identity, NO_ANSWER, Reply, Text, UsageBody, finish_reason, outcome, to_json,
};
use crate::openai::response::sse::EventFrames;
use crate::turn::{ClientTurn, Event, FinishReason, Outcome, ToolCall, Usage};

/// What the ids of answers begin with.
const ID: &str = "chatcmpl-";

/// The chunks of a stream.
#[derive(Debug)]
pub struct ChunkWriter {
    frames: Frames,
    text: Text,
    calls: usize,
}

#[derive(Serialize)]
struct ChunkChoice<D> {
    index: u64,
    delta: D,
    finish_reason: Option<&'static str>,
}

/// What a chunk adds to the message.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Delta<'a> {
    Role(&'static str),
    Content(&'a str),
    ReasoningContent(&'a str),
    Refusal(&'static str),
    ToolCalls([CallBody; 1]),
}

/// The delta of the chunk that ends the answer.
#[derive(Serialize)]
struct Nothing {}

impl ChunkWriter {
    /// The writer of one answer.
    pub fn new(reply: &Reply) -> Self {
        let identity = Identity::new(ID, "chat.completion.chunk", reply);
        Self {
            frames: Frames::new(&identity, reply),
            text: Text::default(),
            calls: 0,
        }
    }

    fn write_delta(&self, delta: Delta<'_>, out: &mut BytesMut) {
        let choice = ChunkChoice {
            index: 0,
            delta,
            finish_reason: None,
        };
        self.frames.write(&choice, out);
    }

    fn write_end(&self, stop: FinishReason, usage: Option<Usage>, out: &mut BytesMut) {
        if let Some(text) = refusal(stop) {
            self.write_delta(Delta::Refusal(text), out);
        }
        let choice = ChunkChoice {
            index: 0,
            delta: Nothing {},
            finish_reason: Some(finish_reason(stop)),
        };
        self.frames.write(&choice, out);
        self.frames.write_end(usage, &self.text, out);
    }
}

impl EventFrames for ChunkWriter {
    fn write_start(&mut self, out: &mut BytesMut) {
        self.write_delta(Delta::Role("assistant"), out);
    }

    fn write(&mut self, event: &Event, out: &mut BytesMut) {
        match event {
            Event::Heartbeat | Event::ReasoningItem(_) => {}
            Event::Text(piece) => {
                let piece = self.text.push(piece);
                self.write_delta(Delta::Content(&piece), out);
            }
            Event::MessageEnded => self.text.end_message(),
            Event::Reasoning(text) => self.write_delta(Delta::ReasoningContent(text), out),
            Event::ReasoningPartAdded => self.write_delta(Delta::ReasoningContent("\n\n"), out),
            Event::ToolCall(call) => {
                let call = CallBody::new(call, Some(self.calls));
                self.calls += 1;
                self.write_delta(Delta::ToolCalls([call]), out);
            }
            Event::Finished(Outcome::Completed { stop, usage }) => {
                self.write_end(*stop, *usage, out);
            }
            Event::Finished(outcome @ (Outcome::Interrupted | Outcome::Failed(_))) => {
                if let Some(error) = of_outcome(outcome) {
                    Frames::write_error(&error, out);
                }
            }
        }
    }
}

#[derive(Serialize)]
struct Completion<'a> {
    #[serde(flatten)]
    identity: Identity<'a>,
    choices: [Choice; 1],
    usage: UsageBody,
}

#[derive(Serialize)]
struct Choice {
    index: u64,
    message: Answer,
    logprobs: Option<()>,
    finish_reason: &'static str,
}

#[derive(Serialize)]
struct Answer {
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
    /// Only in streams, where it tells the calls apart.
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

/// Gathers a turn into the body of one completion.
///
/// # Errors
/// The turn did not complete: what had come of it is no answer.
pub async fn collect(reply: &Reply, turn: ClientTurn) -> Result<Vec<u8>, ApiError> {
    let mut gathered = Buffered::default();
    let outcome = outcome(turn, |event| gathered.push(event));
    match outcome.await {
        Outcome::Completed { stop, usage } => Ok(gathered.completion(reply, stop, usage)),
        outcome @ (Outcome::Interrupted | Outcome::Failed(_)) => {
            Err(of_outcome(&outcome).unwrap_or_else(ApiError::shutting_down))
        }
    }
}

/// An answer that grows until it is whole.
#[derive(Default)]
struct Buffered {
    text: Text,
    content: String,
    reasoning: String,
    calls: Vec<CallBody>,
}

impl Buffered {
    fn push(&mut self, event: &Event) {
        match event {
            Event::Heartbeat | Event::ReasoningItem(_) | Event::Finished(_) => {}
            Event::Text(piece) => self.content.push_str(&self.text.push(piece)),
            Event::MessageEnded => self.text.end_message(),
            Event::Reasoning(text) => self.reasoning.push_str(text),
            Event::ReasoningPartAdded => self.reasoning.push_str("\n\n"),
            Event::ToolCall(call) => self.calls.push(CallBody::new(call, None)),
        }
    }

    /// Content is null where something else stands in its place.
    fn completion(self, reply: &Reply, stop: FinishReason, usage: Option<Usage>) -> Vec<u8> {
        let refusal = refusal(stop);
        let instead = !self.calls.is_empty() || refusal.is_some();
        to_json(&Completion {
            identity: Identity::new(ID, "chat.completion", reply),
            choices: [Choice {
                index: 0,
                message: Answer {
                    role: "assistant",
                    content: Some(self.content).filter(|text| !text.is_empty() || !instead),
                    refusal,
                    reasoning_content: self.reasoning,
                    tool_calls: self.calls,
                },
                logprobs: None,
                finish_reason: finish_reason(stop),
            }],
            usage: self.text.usage(usage, reply.prompt_chars),
        })
    }
}

/// What stands in the place of an answer that is none.
fn refusal(stop: FinishReason) -> Option<&'static str> {
    (stop == FinishReason::Refused).then_some(NO_ANSWER)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::openai::{Delivery, Ignored};
    use crate::turn::{TruncationRules, TurnError};

    fn reply() -> Reply {
        Reply {
            delivery: Delivery::Stream {
                include_usage: true,
            },
            ignored: Ignored::default(),
            cut: TruncationRules::default(),
            model_id: "codex-5".to_owned(),
            prompt_chars: 2,
        }
    }

    /// The frames of a stream with its id and time made stable.
    fn frames(events: &[Event]) -> String {
        let mut writer = ChunkWriter::new(&reply());
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
    fn a_stream_that_ended_well_has_one_finish_then_usage_then_done() {
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
    fn each_call_is_one_chunk_and_they_end_the_answer() {
        let call = |id: &str| {
            Event::ToolCall(ToolCall {
                call_id: id.to_owned(),
                name: "look".to_owned(),
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
        let mut gathered = Buffered::default();
        for event in events {
            gathered.push(event);
        }
        let body = gathered.completion(&reply(), stop, None);
        let mut body: Value = serde_json::from_slice(&body).unwrap();
        body["choices"][0]["message"].take()
    }

    #[test]
    fn a_refusal_stands_in_the_place_of_content() {
        let refused = message(&[], FinishReason::Refused);
        assert_eq!(refused["refusal"], NO_ANSWER);
        assert_eq!(refused["content"], Value::Null);
        let empty = message(&[], FinishReason::Stop);
        assert_eq!(empty["refusal"], Value::Null);
        assert_eq!(empty["content"], "", "a client may read a string");
    }

    #[test]
    fn a_failure_is_one_error_frame_and_never_looks_like_an_end() {
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
