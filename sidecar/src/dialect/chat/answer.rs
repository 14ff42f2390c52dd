//! The answer of a chat: chunks of a stream, or one completion.
//! OpenAI API reference, "Chat completion chunk" and "The chat completion object".

use bytes::{BufMut, BytesMut};
use serde::Serialize;

use super::request::Reply;
use crate::dialect::error::{ApiError, of_outcome};
use crate::dialect::sse::EventFrames;
use crate::dialect::{Delivery, fresh_id, unix_seconds};
use crate::turn::{Attended, Event, Outcome, Stop, Usage};

/// The chunks of a stream.
#[derive(Debug)]
pub struct ChunkWriter {
    /// `data: {"id":…,"object":…,"created":…,"model":…,"choices":[`, the same for every chunk.
    head: Vec<u8>,
    include_usage: bool,
    prompt_chars: usize,
    answer_chars: usize,
}

impl ChunkWriter {
    /// The writer of one answer.
    pub fn new(reply: &Reply) -> Self {
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
            answer_chars: 0,
        }
    }

    fn write_delta(&self, field: &str, text: &str, out: &mut BytesMut) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(b"{\"index\":0,\"delta\":{\"");
        out.extend_from_slice(field.as_bytes());
        out.extend_from_slice(b"\":");
        serde_json::to_writer(out.writer(), text).expect("a string always serialises into memory");
        out.extend_from_slice(b"},\"finish_reason\":null}],\"usage\":null}\n\n");
    }

    fn write_end(&self, stop: Stop, usage: Option<Usage>, out: &mut BytesMut) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(b"{\"index\":0,\"delta\":{},\"finish_reason\":\"");
        out.extend_from_slice(finish_reason(stop).as_bytes());
        out.extend_from_slice(b"\"}],\"usage\":null}\n\n");
        if self.include_usage {
            let usage =
                usage.unwrap_or_else(|| Usage::estimate(self.prompt_chars, self.answer_chars));
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
        match event {
            Event::Progress => {}
            Event::Text(text) => {
                self.answer_chars += text.chars().count();
                self.write_delta("content", text, out);
            }
            Event::Reasoning(text) => self.write_delta("reasoning_content", text, out),
            Event::Finished(Outcome::Completed { stop, usage }) => {
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
    content: String,
    refusal: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    reasoning_content: String,
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
pub async fn gather(reply: &Reply, mut turn: Attended) -> Result<Vec<u8>, ApiError> {
    let (mut content, mut reasoning_content) = (String::new(), String::new());
    while let Some(event) = turn.next().await {
        match event {
            Event::Progress => {}
            Event::Text(text) => content.push_str(&text),
            Event::Reasoning(text) => reasoning_content.push_str(&text),
            Event::Finished(outcome) => {
                let Outcome::Completed { stop, usage } = outcome else {
                    return Err(of_outcome(&outcome).unwrap_or_else(ApiError::shutting_down));
                };
                let answer_chars = content.chars().count();
                let usage =
                    usage.unwrap_or_else(|| Usage::estimate(reply.prompt_chars, answer_chars));
                return Ok(completion(reply, stop, usage, content, reasoning_content));
            }
        }
    }
    Err(ApiError::shutting_down())
}

fn completion(
    reply: &Reply,
    stop: Stop,
    usage: Usage,
    content: String,
    reasoning_content: String,
) -> Vec<u8> {
    to_json(&Completion {
        identity: Identity::new("chat.completion", &reply.model_id),
        choices: [Choice {
            index: 0,
            message: Answer {
                role: "assistant",
                content,
                refusal: None,
                reasoning_content,
            },
            logprobs: None,
            finish_reason: finish_reason(stop),
        }],
        usage: usage.into(),
    })
}

fn finish_reason(stop: Stop) -> &'static str {
    match stop {
        Stop::Natural => "stop",
        Stop::MaxTokens => "length",
        Stop::ContentFilter => "content_filter",
    }
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("our shapes have string keys and no failing parts")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::turn::TurnError;

    /// The frames of a stream with its id and time made stable.
    fn frames(events: &[Event]) -> String {
        let mut writer = ChunkWriter::new(&Reply {
            delivery: Delivery::Stream {
                include_usage: true,
            },
            ignored: BTreeSet::new(),
            model_id: "codex-5".to_owned(),
            prompt_chars: 2,
        });
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
            Event::Text("Q\"\n é".to_owned()),
            Event::Finished(Outcome::Completed {
                stop,
                usage: Some(usage),
            }),
        ];
        expect_test::expect![[r#"
            HEAD {"index":0,"delta":{"role":"assistant"},"finish_reason":null}],"usage":null}

            HEAD {"index":0,"delta":{"reasoning_content":"Hm"},"finish_reason":null}],"usage":null}

            HEAD {"index":0,"delta":{"content":"Q\"\n é"},"finish_reason":null}],"usage":null}

            HEAD {"index":0,"delta":{},"finish_reason":"length"}],"usage":null}

            HEAD ],"usage":{"prompt_tokens":11,"completion_tokens":5,"total_tokens":16,"prompt_tokens_details":{"cached_tokens":3},"completion_tokens_details":{"reasoning_tokens":2}}}

            data: [DONE]

        "#]]
        .assert_eq(&frames(&events));
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
