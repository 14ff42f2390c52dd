//! The response to a legacy completion request: chunks of a stream, or one completion object.
//! OpenAI API reference, "The completion object". The object has no field for a refusal, so the text is then empty.

use bytes::BytesMut;
use serde::Serialize;

use super::request::PromptEcho;
use crate::openai::response::budget::SpentBudget;
use crate::openai::response::chunk::{
    ChunkFrames, CompletionIdentity, CompletionObject, CompletionUsage, MessageText,
    collect_object, finish_reason,
};
use crate::openai::response::error::ApiError;
use crate::openai::response::field_names::FieldNames;
use crate::openai::response::json::to_json;
use crate::openai::response::options::ResponseOptions;
use crate::openai::response::sse::EventFrames;
use crate::turn::{ClientTurn, Event, FinishReason, Outcome, Usage};

/// Prefix of the ids.
const ID_PREFIX: &str = "cmpl-";

/// The `object` field of completions and of chunks.
const OBJECT: &str = "text_completion";

/// Writes the chunks of a stream.
#[derive(Debug)]
pub struct CompletionChunkWriter {
    frames: ChunkFrames,
    text: MessageText,
    echo: PromptEcho,
}

#[derive(Serialize)]
struct CompletionChoice<'a> {
    text: &'a str,
    index: u64,
    logprobs: Option<()>,
    finish_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    budget: Option<SpentBudget>,
}

impl<'a> CompletionChoice<'a> {
    fn new(text: &'a str, reason: Option<FinishReason>) -> Self {
        Self {
            text,
            index: 0,
            logprobs: None,
            finish_reason: reason.map(finish_reason),
            budget: reason.and_then(SpentBudget::of),
        }
    }
}

impl CompletionChunkWriter {
    /// Returns the writer of one response.
    pub fn new(options: &ResponseOptions, echo: PromptEcho) -> Self {
        let identity = CompletionIdentity::new(ID_PREFIX, OBJECT, options);
        Self {
            frames: ChunkFrames::new(&identity, options),
            text: MessageText::default(),
            echo,
        }
    }
}

impl EventFrames for CompletionChunkWriter {
    fn write_start(&mut self, out: &mut BytesMut) {
        if let Some(prompt) = self.echo.0.take() {
            self.frames
                .write(&CompletionChoice::new(&prompt, None), out);
        }
    }

    fn write(&mut self, event: &Event, out: &mut BytesMut) {
        match event {
            Event::Text(delta) => {
                let delta = self.text.push(delta);
                self.frames.write(&CompletionChoice::new(&delta, None), out);
            }
            Event::MessageEnded => self.text.end_message(),
            Event::Heartbeat
            | Event::Used(_)
            | Event::MessagePhase(_)
            | Event::Reasoning(_)
            | Event::ReasoningPartAdded
            | Event::ReasoningItem(_)
            | Event::ToolCall(_) => {} // A completion has only text.
            Event::Finished(Outcome::Completed { stop, usage }) => {
                self.frames
                    .write(&CompletionChoice::new("", Some(*stop)), out);
                self.frames.write_end(*usage, &self.text, out);
            }
            Event::Finished(outcome @ (Outcome::Interrupted | Outcome::Failed(_))) => {
                self.frames
                    .write_error(outcome, &FieldNames::COMPLETION, out);
            }
        }
    }
}

#[derive(Serialize)]
struct TextCompletion<'a> {
    #[serde(flatten)]
    identity: CompletionIdentity<'a>,
    choices: [CompletionChoice<'a>; 1],
    usage: CompletionUsage,
}

/// Collects a turn into the body of one completion.
///
/// # Errors
/// The error of a turn that did not complete. The incomplete output is dropped.
pub async fn collect(
    options: &ResponseOptions,
    echo: PromptEcho,
    turn: ClientTurn,
) -> Result<Vec<u8>, ApiError> {
    let object = BufferedText {
        text: MessageText::default(),
        content: echo.0.unwrap_or_default(),
    };
    collect_object(object, options, turn, &FieldNames::COMPLETION).await
}

/// The output of a turn so far.
struct BufferedText {
    text: MessageText,
    content: String,
}

impl CompletionObject for BufferedText {
    fn on_event(&mut self, event: &Event) {
        match event {
            Event::Text(delta) => self.content.push_str(&self.text.push(delta)),
            Event::MessageEnded => self.text.end_message(),
            Event::Heartbeat
            | Event::Used(_)
            | Event::MessagePhase(_)
            | Event::Reasoning(_)
            | Event::ReasoningPartAdded
            | Event::ReasoningItem(_)
            | Event::ToolCall(_)
            | Event::Finished(_) => {}
        }
    }

    fn into_json(
        self,
        options: &ResponseOptions,
        reason: FinishReason,
        usage: Option<Usage>,
    ) -> Vec<u8> {
        to_json(&TextCompletion {
            identity: CompletionIdentity::new(ID_PREFIX, OBJECT, options),
            choices: [CompletionChoice::new(&self.content, Some(reason))],
            usage: self.text.usage(usage, options.prompt_chars),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openai::{Delivery, IgnoredFields};
    use crate::turn::{TruncationRules, TurnError};

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
    fn frames(echo: Option<&str>, events: &[Event]) -> String {
        let mut writer =
            CompletionChunkWriter::new(&options(), PromptEcho(echo.map(str::to_owned)));
        let (mut out, head) = (BytesMut::new(), writer.frames.head());
        writer.write_start(&mut out);
        for event in events {
            writer.write(event, &mut out);
        }
        let frames = String::from_utf8(out.to_vec()).unwrap();
        frames.replace(&head, "HEAD ")
    }

    #[test]
    fn a_completed_stream_ends_with_finish_reason_usage_and_done() {
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
    fn a_failed_stream_ends_with_one_error_frame_and_without_done() {
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
