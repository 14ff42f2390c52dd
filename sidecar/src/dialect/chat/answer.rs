//! The answer of a chat: chunks of a stream, or one completion.
//! OpenAI API reference, "Chat completion chunk" and "The chat completion object".

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};
use serde::Serialize;

use super::request::Reply;
use crate::dialect::error::{ApiError, of_outcome};
use crate::dialect::sse::EventFrames;
use crate::dialect::{Delivery, NO_ANSWER, fresh_id, unix_seconds};
use crate::recall::Listener;
use crate::turn::{Attended, Event, Outcome, Stop, ToolCall, Usage};

/// The chunks of a stream.
#[derive(Debug)]
pub struct ChunkWriter {
    /// `data: {"id":…,"object":…,"created":…,"model":…,"choices":[`, the same for every chunk.
    head: Vec<u8>,
    include_usage: bool,
    prompt_chars: usize,
    text: Text,
    calls: usize,
    listener: Listener,
}

/// The answer's text so far: two messages of one turn are parted by a blank line.
#[derive(Debug, Default)]
struct Text {
    chars: usize,
    /// A message has ended, and whatever text comes next needs the blank line.
    parted: bool,
}

impl Text {
    /// What `piece` is in the one text that clients read.
    fn push<'a>(&mut self, piece: &'a str) -> Cow<'a, str> {
        let parted = std::mem::take(&mut self.parted) && self.chars > 0;
        self.chars += piece.chars().count();
        if parted {
            format!("\n\n{piece}").into()
        } else {
            piece.into()
        }
    }

    fn end_message(&mut self) {
        self.parted = true;
    }
}

impl ChunkWriter {
    /// The writer of one answer.
    pub fn new(reply: &Reply, listener: Listener) -> Self {
        let identity = Identity::new("chat.completion.chunk", &reply.model_id);
        let mut head = b"data: ".to_vec();
        head.extend(to_json(&identity));
        head.pop();
        head.extend_from_slice(b",\"choices\":[");
        Self {
            head,
            include_usage: reply.delivery
                == Delivery::Stream {
                    include_usage: true,
                },
            prompt_chars: reply.prompt_chars,
            text: Text::default(),
            calls: 0,
            listener,
        }
    }

    fn write_delta(&self, field: &str, value: &(impl Serialize + ?Sized), out: &mut BytesMut) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(b"{\"index\":0,\"delta\":{\"");
        out.extend_from_slice(field.as_bytes());
        out.extend_from_slice(b"\":");
        serde_json::to_writer(out.writer(), value)
            .expect("our shapes always serialise into memory");
        out.extend_from_slice(b"},\"finish_reason\":null}],\"usage\":null}\n\n");
    }

    fn write_end(&self, stop: Stop, usage: Option<Usage>, out: &mut BytesMut) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(b"{\"index\":0,\"delta\":{},\"finish_reason\":\"");
        out.extend_from_slice(finish_reason(stop).as_bytes());
        out.extend_from_slice(b"\"}],\"usage\":null}\n\n");
        if self.include_usage {
            let usage =
                usage.unwrap_or_else(|| Usage::estimate(self.prompt_chars, self.text.chars));
            out.extend_from_slice(&self.head);
            out.extend_from_slice(b"],\"usage\":");
            out.extend_from_slice(&to_json(&UsageBody::from(usage)));
            out.extend_from_slice(b"}\n\n");
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }
}

impl EventFrames for ChunkWriter {
    fn write_start(&mut self, out: &mut BytesMut) {
        self.write_delta("role", "assistant", out);
    }

    fn write(&mut self, event: &Event, out: &mut BytesMut) {
        self.listener.hear(event);
        match event {
            Event::Progress | Event::Reasoned(_) => {}
            Event::Text(piece) => {
                let piece = self.text.push(piece);
                self.write_delta("content", &*piece, out);
            }
            Event::MessageEnded => self.text.end_message(),
            Event::Reasoning(text) => self.write_delta("reasoning_content", text, out),
            Event::NextReasoningPart => self.write_delta("reasoning_content", "\n\n", out),
            Event::ToolCall(call) => {
                let call = CallBody::new(call, Some(self.calls));
                self.calls += 1;
                self.write_delta("tool_calls", &[call], out);
            }
            Event::Finished(Outcome::Completed { stop, usage }) => {
                if let Some(text) = refusal(*stop) {
                    self.write_delta("refusal", text, out);
                }
                self.write_end(*stop, *usage, out)
            }
            Event::Finished(outcome @ (Outcome::Interrupted | Outcome::Failed(_))) => {
                if let Some(error) = of_outcome(outcome) {
                    out.extend_from_slice(b"data: ");
                    out.extend_from_slice(&error.body());
                    out.extend_from_slice(b"\n\n");
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
struct Identity<'a> {
    id: String,
    object: &'static str,
    created: u64,
    model: &'a str,
}

impl<'a> Identity<'a> {
    fn new(object: &'static str, model: &'a str) -> Self {
        Self {
            id: fresh_id("chatcmpl-"),
            object,
            created: unix_seconds(),
            model,
        }
    }
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

#[derive(Serialize)]
struct UsageBody {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: PromptDetails,
    completion_tokens_details: CompletionDetails,
}

#[derive(Serialize)]
struct PromptDetails {
    cached_tokens: u64,
}

#[derive(Serialize)]
struct CompletionDetails {
    reasoning_tokens: u64,
}

impl From<Usage> for UsageBody {
    fn from(usage: Usage) -> Self {
        Self {
            prompt_tokens: usage.input_tokens,
            completion_tokens: usage.output_tokens,
            total_tokens: usage.total_tokens(),
            prompt_tokens_details: PromptDetails {
                cached_tokens: usage.cached_input_tokens,
            },
            completion_tokens_details: CompletionDetails {
                reasoning_tokens: usage.reasoning_tokens,
            },
        }
    }
}

/// Gathers a turn into the body of one completion.
///
/// # Errors
/// The turn did not complete: what had come of it is no answer.
pub async fn gather(
    reply: &Reply,
    mut turn: Attended,
    mut listener: Listener,
) -> Result<Vec<u8>, ApiError> {
    let mut gathered = Gathered::default();
    while let Some(event) = turn.next().await {
        listener.hear(&event);
        if let Event::Finished(outcome) = event {
            let Outcome::Completed { stop, usage } = outcome else {
                return Err(of_outcome(&outcome).unwrap_or_else(ApiError::shutting_down));
            };
            return Ok(gathered.completion(reply, stop, usage));
        }
        gathered.push(&event);
    }
    Err(ApiError::shutting_down())
}

/// An answer that grows until it is whole.
#[derive(Default)]
struct Gathered {
    text: Text,
    content: String,
    reasoning: String,
    calls: Vec<CallBody>,
}

impl Gathered {
    fn push(&mut self, event: &Event) {
        match event {
            Event::Progress | Event::Reasoned(_) | Event::Finished(_) => {}
            Event::Text(piece) => self.content.push_str(&self.text.push(piece)),
            Event::MessageEnded => self.text.end_message(),
            Event::Reasoning(text) => self.reasoning.push_str(text),
            Event::NextReasoningPart => self.reasoning.push_str("\n\n"),
            Event::ToolCall(call) => self.calls.push(CallBody::new(call, None)),
        }
    }

    /// Content is null where something else stands in its place.
    fn completion(self, reply: &Reply, stop: Stop, usage: Option<Usage>) -> Vec<u8> {
        let usage = usage.unwrap_or_else(|| Usage::estimate(reply.prompt_chars, self.text.chars));
        let refusal = refusal(stop);
        let instead = !self.calls.is_empty() || refusal.is_some();
        to_json(&Completion {
            identity: Identity::new("chat.completion", &reply.model_id),
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
            usage: usage.into(),
        })
    }
}

/// What stands in the place of an answer that is none.
fn refusal(stop: Stop) -> Option<&'static str> {
    (stop == Stop::Silent).then_some(NO_ANSWER)
}

fn finish_reason(stop: Stop) -> &'static str {
    match stop {
        Stop::Natural | Stop::Silent => "stop",
        Stop::ToolCalls => "tool_calls",
        Stop::MaxTokens => "length",
        Stop::ContentFilter => "content_filter",
    }
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("our shapes have string keys and no failing parts")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::dialect::Ignored;
    use crate::turn::{CutRules, TurnError};

    fn reply() -> Reply {
        Reply {
            delivery: Delivery::Stream {
                include_usage: true,
            },
            ignored: Ignored::default(),
            cut: CutRules::default(),
            model_id: "codex-5".to_owned(),
            prompt_chars: 2,
        }
    }

    /// The frames of a stream with its id and time made stable.
    fn frames(events: &[Event]) -> String {
        let mut writer = ChunkWriter::new(&reply(), Listener::default());
        let (mut out, head) = (
            BytesMut::new(),
            String::from_utf8(writer.head.clone()).unwrap(),
        );
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
        let stop = Stop::MaxTokens;
        let events = [
            Event::Progress,
            Event::Reasoning("Hm".to_owned()),
            Event::NextReasoningPart,
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
        let (stop, usage) = (Stop::ToolCalls, Some(Usage::default()));
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

    fn message(events: &[Event], stop: Stop) -> Value {
        let mut gathered = Gathered::default();
        for event in events {
            gathered.push(event);
        }
        let body = gathered.completion(&reply(), stop, None);
        let mut body: Value = serde_json::from_slice(&body).unwrap();
        body["choices"][0]["message"].take()
    }

    #[test]
    fn a_refusal_stands_in_the_place_of_content() {
        let refused = message(&[], Stop::Silent);
        assert_eq!(refused["refusal"], NO_ANSWER);
        assert_eq!(refused["content"], Value::Null);
        let empty = message(&[], Stop::Natural);
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
