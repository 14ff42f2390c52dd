//! Plays the stream of a script: its pauses, its items and its end.
//! The shapes of the events are those of `responses` and `items`.

use std::io;
use std::iter;
use std::time::Duration;

use tokio::time::sleep;

use super::auto;
use super::event_body::EventWriter;
use super::holds::Holds;
use super::items::{
    ARGUMENTS, CUSTOM_INPUT, OUTPUT_TEXT, OutputItem, REASONING_SUMMARY, REASONING_TEXT, REFUSAL,
    TextKind, TextPart,
};
use super::responses::{FinalEvent, ResponseState, TokenCounts};
use crate::scripted_model::request::{ModelRequest, PromptTokens, tokens_of};
use crate::scripted_model::request::{RecordingGuard, epoch};
use crate::scripted_model::script::{
    CallStep, CustomCallStep, CutKind, MessageContent, MessageOptions, MessageStep, ModelAction,
    Pace, ReasoningStep, StreamEnd, UsageStep, Wait, WriteMode,
};

/// The state of a script that is being played.
pub(crate) struct Player {
    request: ModelRequest,
    prompt: PromptTokens,
    response: ResponseState,
    writer: EventWriter,
    holds: Holds,
    recording: RecordingGuard,
    /// The open message that the next message action continues.
    open: Option<(OutputItem, TextPart)>,
    usage: UsageStep,
    output_bytes: usize,
    reasoning_bytes: usize,
}

impl Wait {
    /// Waits for the time of a pause, or for the release of a hold.
    pub(crate) async fn wait(&self, holds: &Holds) {
        match self {
            Self::Pause(pause) => sleep(*pause).await,
            Self::Hold(name) => holds.wait_for_release(name).await,
        }
    }
}

impl Player {
    pub(crate) fn new(
        request: ModelRequest,
        prompt: PromptTokens,
        recording: RecordingGuard,
        writer: EventWriter,
        holds: Holds,
    ) -> Self {
        let created_at = epoch(recording.at).as_secs();
        Self {
            response: ResponseState::new(recording.number, request.model.clone(), created_at),
            request,
            prompt,
            recording,
            writer,
            holds,
            open: None,
            usage: UsageStep::default(),
            output_bytes: 0,
            reasoning_bytes: 0,
        }
    }

    /// Plays the stream after the response head.
    ///
    /// # Errors
    /// `ConnectionAborted` if the script aborts the connection.
    pub(crate) async fn play(
        mut self,
        actions: Vec<ModelAction>,
        end: StreamEnd,
    ) -> io::Result<()> {
        let writes = actions
            .first()
            .map_or(WriteMode::default(), ModelAction::writes);
        for event in self.response.begin() {
            self.writer.write(event, writes).await;
        }
        for action in actions {
            self.perform(action).await;
        }
        self.end(end).await
    }

    async fn perform(&mut self, action: ModelAction) {
        match action {
            ModelAction::Wait(wait) => {
                self.writer.flush().await;
                wait.wait(&self.holds).await;
            }
            ModelAction::Message(message, pace) => self.message(message, pace).await,
            ModelAction::Reasoning(reasoning, pace) => self.reasoning(&reasoning, pace).await,
            ModelAction::Call(call, pace) => self.call(&call, pace).await,
            ModelAction::CustomCall(call, pace) => self.custom_call(&call, pace).await,
            ModelAction::Auto(auto, pace) => {
                for action in auto::actions(auto, pace, &self.request) {
                    Box::pin(self.perform(action)).await;
                }
            }
            ModelAction::Usage(usage) => self.usage = usage,
        }
    }

    async fn message(&mut self, message: MessageStep, pace: Pace) {
        let (kind, text) = match message.content {
            MessageContent::Text(text) => (&OUTPUT_TEXT, text),
            MessageContent::Chars(chars) => (&OUTPUT_TEXT, generated(chars)),
            MessageContent::Echo(part) => (&OUTPUT_TEXT, self.request.echo(part)),
            MessageContent::Refusal(text) => (&REFUSAL, text),
        };
        if message.options.whole {
            return self
                .whole_message(kind, &text, &message.options, pace)
                .await;
        }
        let (item, mut part) = match self.open.take() {
            Some(open) => open,
            None => {
                let item =
                    OutputItem::message(self.response.next_position("msg"), message.options.phase);
                self.writer.write(item.added(), pace.writes).await;
                let part = item.part(kind);
                self.open_part(&part, pace).await;
                (item, part)
            }
        };
        self.write_text(&mut part, &text, pace).await;
        if message.options.open {
            self.open = Some((item, part));
        } else {
            self.finish(item, part, pace).await;
        }
    }

    /// Writes a text without deltas: the rest of the open message, or a message that has no event but its last.
    async fn whole_message(
        &mut self,
        kind: &'static TextKind,
        text: &str,
        options: &MessageOptions,
        pace: Pace,
    ) {
        self.output_bytes += text.len();
        if let Some((item, mut part)) = self.open.take() {
            part.append(text);
            return self.finish(item, part, pace).await;
        }
        let mut item = OutputItem::message(self.response.next_position("msg"), options.phase);
        let mut part = item.part(kind);
        part.append(text);
        item.finish(part);
        let event = self.response.finish(item);
        self.writer.write(event, pace.writes).await;
    }

    async fn reasoning(&mut self, reasoning: &ReasoningStep, pace: Pace) {
        let mut item = OutputItem::reasoning(self.response.next_position("rs"), reasoning);
        self.writer.write(item.added(), pace.writes).await;
        let summary = reasoning
            .summary
            .iter()
            .map(|text| (&REASONING_SUMMARY, text));
        let raw = reasoning.raw.iter().map(|text| (&REASONING_TEXT, text));
        for (kind, text) in summary.chain(raw) {
            self.reasoning_bytes += text.len();
            let mut part = item.part(kind);
            self.open_part(&part, pace).await;
            self.write_text(&mut part, text, pace).await;
            for event in item.finish(part) {
                self.writer.write(event, pace.writes).await;
            }
        }
        let event = self.response.finish(item);
        self.writer.write(event, pace.writes).await;
    }

    async fn call(&mut self, call: &CallStep, pace: Pace) {
        let item = OutputItem::function_call(self.response.next_position("fc"), call);
        self.writer.write(item.added(), pace.writes).await;
        let mut part = item.part(&ARGUMENTS);
        let arguments = match call.arguments.as_str() {
            Some(text) => text.to_owned(),
            None => call.arguments.to_string(),
        };
        self.write_text(&mut part, &arguments, pace).await;
        self.finish(item, part, pace).await;
    }

    async fn custom_call(&mut self, call: &CustomCallStep, pace: Pace) {
        let item = OutputItem::custom_call(self.response.next_position("ctc"), call);
        self.writer.write(item.added(), pace.writes).await;
        let mut part = item.part(&CUSTOM_INPUT);
        self.write_text(&mut part, &call.input, pace).await;
        self.finish(item, part, pace).await;
    }

    async fn open_part(&mut self, part: &TextPart, pace: Pace) {
        if let Some(event) = part.opening() {
            self.writer.write(event, pace.writes).await;
        }
    }

    /// Writes a text, delta by delta.
    async fn write_text(&mut self, part: &mut TextPart, text: &str, pace: Pace) {
        self.output_bytes += text.len();
        for (number, delta) in deltas(text, pace).enumerate() {
            if number > 0 && pace.delay_ms > 0 {
                self.writer.flush().await;
                sleep(Duration::from_millis(pace.delay_ms)).await;
            }
            self.writer.write(part.delta(delta), pace.writes).await;
        }
    }

    async fn finish(&mut self, mut item: OutputItem, part: TextPart, pace: Pace) {
        for event in item.finish(part) {
            self.writer.write(event, pace.writes).await;
        }
        let event = self.response.finish(item);
        self.writer.write(event, pace.writes).await;
    }

    async fn end(mut self, end: StreamEnd) -> io::Result<()> {
        let tokens = self.tokens();
        // Before the last event: a client may disconnect as soon as it has that event, and must not count as a cut.
        self.recording.done();
        let last = match end {
            StreamEnd::Completed => FinalEvent::Completed(tokens),
            StreamEnd::Incomplete(reason) => FinalEvent::Incomplete { reason, tokens },
            StreamEnd::Failed(failed) => FinalEvent::Failed {
                message: failed
                    .message
                    .unwrap_or_else(|| format!("The response failed: {}.", failed.code)),
                code: failed.code,
            },
            StreamEnd::Cut(CutKind::Clean) => {
                self.writer.flush().await;
                return Ok(());
            }
            StreamEnd::Cut(CutKind::Abort) => {
                let event = self.response.end(FinalEvent::Completed(tokens));
                self.writer.write_half(&event).await;
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
        };
        self.writer
            .write(self.response.end(last), WriteMode::PerEvent)
            .await;
        Ok(())
    }

    fn tokens(&self) -> TokenCounts {
        let usage = self.usage;
        // The computed count of cached tokens is a part of the computed input only.
        let cached = match usage.input_tokens {
            Some(_) => 0,
            None => self.prompt.cached,
        };
        TokenCounts {
            input: usage.input_tokens.unwrap_or(self.prompt.input),
            cached: usage.cached_tokens.unwrap_or(cached),
            output: usage
                .output_tokens
                .unwrap_or_else(|| tokens_of(self.output_bytes)),
            reasoning: usage
                .reasoning_tokens
                .unwrap_or_else(|| tokens_of(self.reasoning_bytes)),
        }
    }
}

impl ModelAction {
    fn writes(&self) -> WriteMode {
        match self {
            Self::Message(_, pace)
            | Self::Reasoning(_, pace)
            | Self::Call(_, pace)
            | Self::CustomCall(_, pace)
            | Self::Auto(_, pace) => pace.writes,
            Self::Wait(_) | Self::Usage(_) => WriteMode::default(),
        }
    }
}

/// Splits a text into deltas at character boundaries.
fn deltas(text: &str, pace: Pace) -> impl Iterator<Item = &str> {
    let mut rest = text;
    iter::from_fn(move || {
        let end = pace
            .delta_chars
            .and_then(|chars| rest.char_indices().nth(chars.get()))
            .map_or(rest.len(), |(end, _)| end);
        let (delta, after) = rest.split_at(end);
        rest = after;
        (!delta.is_empty()).then_some(delta)
    })
}

/// A text of `chars` characters, the same in every run.
fn generated(chars: usize) -> String {
    "The quick brown fox jumps over the lazy dog. "
        .chars()
        .cycle()
        .take(chars)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;

    #[test]
    fn deltas_are_split_at_character_boundaries() {
        let by = |chars| Pace {
            delta_chars: NonZeroUsize::new(chars),
            ..Pace::default()
        };
        let split = |text, chars| deltas(text, by(chars)).collect::<Vec<_>>();
        assert_eq!(split("äöüß€", 2), ["äö", "üß", "€"]);
        assert_eq!(split("abcd", 2), ["ab", "cd"]);
        assert_eq!(split("abcd", 0), ["abcd"]);
        assert_eq!(split("", 3), [""; 0]);
    }
}
