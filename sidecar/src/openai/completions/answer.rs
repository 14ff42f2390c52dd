//! The answer of a legacy completion: chunks of text, or one completion.
//! OpenAI API reference, "The completion object". It has no field for a refusal: an answer without a word is empty.

use bytes::BytesMut;
use serde::Serialize;

use super::request::Echo;
use crate::openai::response::error::{ApiError, of_outcome};
use crate::openai::response::options::{
    Frames, Identity, Reply, Text, UsageBody, finish_reason, outcome, to_json,
};
use crate::openai::response::sse::EventFrames;
use crate::turn::{ClientTurn, Event, FinishReason, Outcome, Usage};

/// What the ids of answers begin with.
const ID: &str = "cmpl-";

/// What each of its objects is, chunks too.
const OBJECT: &str = "text_completion";

/// The chunks of a stream.
#[derive(Debug)]
pub struct ChunkWriter {
    frames: Frames,
    text: Text,
    echo: Echo,
}

#[derive(Serialize)]
struct Choice<'a> {
    text: &'a str,
    index: u64,
    logprobs: Option<()>,
    finish_reason: Option<&'static str>,
}

impl<'a> Choice<'a> {
    fn new(text: &'a str, stop: Option<FinishReason>) -> Self {
        Self {
            text,
            index: 0,
            logprobs: None,
            finish_reason: stop.map(finish_reason),
        }
    }
}

impl ChunkWriter {
    /// The writer of one answer.
    pub fn new(reply: &Reply, echo: Echo) -> Self {
        Self {
            frames: Frames::new(&Identity::new(ID, OBJECT, reply), reply),
            text: Text::default(),
            echo,
        }
    }
}

impl EventFrames for ChunkWriter {
    fn write_start(&mut self, out: &mut BytesMut) {
        if let Some(prompt) = self.echo.0.take() {
            self.frames.write(&Choice::new(&prompt, None), out);
        }
    }

    fn write(&mut self, event: &Event, out: &mut BytesMut) {
        match event {
            Event::Text(piece) => {
                let piece = self.text.push(piece);
                self.frames.write(&Choice::new(&piece, None), out);
            }
            Event::MessageEnded => self.text.end_message(),
            Event::Heartbeat
            | Event::Reasoning(_)
            | Event::ReasoningPartAdded
            | Event::ReasoningItem(_)
            | Event::ToolCall(_) => {} // There is no field for them.
            Event::Finished(Outcome::Completed { stop, usage }) => {
                self.frames.write(&Choice::new("", Some(*stop)), out);
                self.frames.write_end(*usage, &self.text, out);
            }
            Event::Finished(outcome @ (Outcome::Interrupted | Outcome::Failed(_))) => {
                Frames::write_error(&error(outcome), out);
            }
        }
    }
}

#[derive(Serialize)]
struct Completion<'a> {
    #[serde(flatten)]
    identity: Identity<'a>,
    choices: [Choice<'a>; 1],
    usage: UsageBody,
}

/// Gathers a turn into the body of one completion.
///
/// # Errors
/// The turn did not complete: what had come of it is no answer.
pub async fn collect(reply: &Reply, echo: Echo, turn: ClientTurn) -> Result<Vec<u8>, ApiError> {
    let (mut text, mut whole) = (Text::default(), echo.0.unwrap_or_default());
    let outcome = outcome(turn, |event| match event {
        Event::Text(piece) => whole.push_str(&text.push(piece)),
        Event::MessageEnded => text.end_message(),
        Event::Heartbeat
        | Event::Reasoning(_)
        | Event::ReasoningPartAdded
        | Event::ReasoningItem(_)
        | Event::ToolCall(_)
        | Event::Finished(_) => {}
    });
    match outcome.await {
        Outcome::Completed { stop, usage } => Ok(completion(reply, &whole, &text, stop, usage)),
        outcome @ (Outcome::Interrupted | Outcome::Failed(_)) => Err(error(&outcome)),
    }
}

fn completion(
    reply: &Reply,
    whole: &str,
    text: &Text,
    stop: FinishReason,
    usage: Option<Usage>,
) -> Vec<u8> {
    to_json(&Completion {
        identity: Identity::new(ID, OBJECT, reply),
        choices: [Choice::new(whole, Some(stop))],
        usage: text.usage(usage, reply.prompt_chars),
    })
}

/// What is too long for the model is the prompt.
fn error(outcome: &Outcome) -> ApiError {
    let error = of_outcome(outcome).unwrap_or_else(ApiError::shutting_down);
    error.with_prompt_in("prompt")
}

#[cfg(test)]
mod tests {
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
    fn frames(echo: Option<&str>, events: &[Event]) -> String {
        let mut writer = ChunkWriter::new(&reply(), Echo(echo.map(str::to_owned)));
        let (mut out, head) = (BytesMut::new(), writer.frames.head());
        writer.write_start(&mut out);
        for event in events {
            writer.write(event, &mut out);
        }
        let frames = String::from_utf8(out.to_vec()).unwrap();
        frames.replace(&head, "HEAD ")
    }

    #[test]
    fn a_stream_that_ended_well_has_one_finish_then_usage_then_done() {
        let events = [
            Event::Heartbeat,
            Event::Reasoning("Hm".to_owned()),
            Event::Text("Q\"\n é".to_owned()),
            Event::MessageEnded,
            Event::Text("2".to_owned()),
            Event::Finished(Outcome::Completed {
                stop: FinishReason::Length,
                usage: None,
            }),
        ];
        expect_test::expect![[r#"
            HEAD {"text":"Hi","index":0,"logprobs":null,"finish_reason":null}],"usage":null}

            HEAD {"text":"Q\"\n é","index":0,"logprobs":null,"finish_reason":null}],"usage":null}

            HEAD {"text":"\n\n2","index":0,"logprobs":null,"finish_reason":null}],"usage":null}

            HEAD {"text":"","index":0,"logprobs":null,"finish_reason":"length"}],"usage":null}

            HEAD ],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}}

            data: [DONE]

        "#]].assert_eq(&frames(Some("Hi"), &events));
    }

    #[test]
    fn a_failure_is_one_error_frame_and_never_looks_like_an_end() {
        for (outcome, code, param) in [
            (Outcome::Interrupted, "codex_unavailable", "null"),
            (
                Outcome::Failed(TurnError::ContextLength),
                "context_length_exceeded",
                r#""prompt""#,
            ),
        ] {
            let events = [Event::Text("par".to_owned()), Event::Finished(outcome)];
            let frames = frames(None, &events);
            let error = format!(r#""param":{param},"code":"{code}""#);
            assert_eq!(frames.matches(&error).count(), 1, "{frames}");
            assert!(
                !frames.contains("[DONE]") && !frames.contains(r#""finish_reason":""#),
                "{frames}"
            );
        }
    }
}
