//! Plays the stream of a script: waits, says and breaks off as its acts ask.
//! The shapes of what is said are those of `responses` and `items`.

use std::io;
use std::iter;
use std::time::Duration;

use tokio::time::sleep;

use super::auto;
use super::event_body::EventWriter;
use super::holds::Holds;
use super::items::{
    ARGUMENTS, CUSTOM_INPUT, Item, OUTPUT_TEXT, Part, REASONING_SUMMARY, REASONING_TEXT, REFUSAL,
};
use super::responses::{Last, Response, Tokens};
use crate::scripted_model::request::{ModelRequest, tokens_of};
use crate::scripted_model::request::{Recording, epoch};
use crate::scripted_model::script::{
    Act, Call, Content, CustomCall, Cut, End, Message, Pace, Reasoning, Usage, Wait, Writes,
};

/// A response while it is being played.
pub(crate) struct Player {
    request: ModelRequest,
    response: Response,
    writer: EventWriter,
    holds: Holds,
    recording: Recording,
    /// The message that the next message act goes on with.
    open: Option<(Item, Part)>,
    usage: Usage,
    spoken_bytes: usize,
    reasoning_bytes: usize,
}

impl Wait {
    /// Is silent.
    pub(crate) async fn wait(&self, holds: &Holds) {
        match self {
            Self::Pause(pause) => sleep(*pause).await,
            Self::Hold(name) => holds.released(name).await,
        }
    }
}

impl Player {
    pub(crate) fn new(
        request: ModelRequest,
        recording: Recording,
        writer: EventWriter,
        holds: Holds,
    ) -> Self {
        let created_at = epoch(recording.at).as_secs();
        Self {
            response: Response::new(recording.number, request.model.clone(), created_at),
            request,
            recording,
            writer,
            holds,
            open: None,
            usage: Usage::default(),
            spoken_bytes: 0,
            reasoning_bytes: 0,
        }
    }

    /// Plays what follows the head.
    ///
    /// # Errors
    /// When the script asks to abort the connection.
    pub(crate) async fn play(mut self, acts: Vec<Act>, end: End) -> io::Result<()> {
        let writes = acts.first().map_or(Writes::default(), Act::writes);
        for event in self.response.begin() {
            self.writer.write(event, writes).await;
        }
        for act in acts {
            self.act(act).await;
        }
        self.end(end).await
    }

    async fn act(&mut self, act: Act) {
        match act {
            Act::Wait(wait) => {
                self.writer.flush().await;
                wait.wait(&self.holds).await;
            }
            Act::Message(message, pace) => self.message(message, pace).await,
            Act::Reasoning(reasoning, pace) => self.reasoning(&reasoning, pace).await,
            Act::Call(call, pace) => self.call(&call, pace).await,
            Act::CustomCall(call, pace) => self.custom_call(&call, pace).await,
            Act::Auto(auto, pace) => {
                for act in auto::acts(auto, pace, &self.request) {
                    Box::pin(self.act(act)).await;
                }
            }
            Act::Usage(usage) => self.usage = usage,
        }
    }

    async fn message(&mut self, message: Message, pace: Pace) {
        let (kind, text) = match message.content {
            Content::Text(text) => (&OUTPUT_TEXT, text),
            Content::Chars(chars) => (&OUTPUT_TEXT, generated(chars)),
            Content::Echo(part) => (&OUTPUT_TEXT, self.request.echo(part)),
            Content::Refusal(text) => (&REFUSAL, text),
        };
        let (item, mut part) = match self.open.take() {
            Some(open) => open,
            None => {
                let item = Item::message(self.response.place("msg"), message.options.phase);
                self.writer.write(item.added(), pace.writes).await;
                let part = item.part(kind);
                self.open_part(&part, pace).await;
                (item, part)
            }
        };
        self.say(&mut part, &text, pace).await;
        if message.options.open {
            self.open = Some((item, part));
        } else {
            self.finish(item, part, pace).await;
        }
    }

    async fn reasoning(&mut self, reasoning: &Reasoning, pace: Pace) {
        let mut item = Item::reasoning(self.response.place("rs"), reasoning);
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
            self.say(&mut part, text, pace).await;
            for event in item.finish(part) {
                self.writer.write(event, pace.writes).await;
            }
        }
        let event = self.response.finish(item);
        self.writer.write(event, pace.writes).await;
    }

    async fn call(&mut self, call: &Call, pace: Pace) {
        let item = Item::function_call(self.response.place("fc"), call);
        self.writer.write(item.added(), pace.writes).await;
        let mut part = item.part(&ARGUMENTS);
        let arguments = match call.arguments.as_str() {
            Some(text) => text.to_owned(),
            None => call.arguments.to_string(),
        };
        self.say(&mut part, &arguments, pace).await;
        self.finish(item, part, pace).await;
    }

    async fn custom_call(&mut self, call: &CustomCall, pace: Pace) {
        let item = Item::custom_call(self.response.place("ctc"), call);
        self.writer.write(item.added(), pace.writes).await;
        let mut part = item.part(&CUSTOM_INPUT);
        self.say(&mut part, &call.input, pace).await;
        self.finish(item, part, pace).await;
    }

    async fn open_part(&mut self, part: &Part, pace: Pace) {
        if let Some(event) = part.opening() {
            self.writer.write(event, pace.writes).await;
        }
    }

    /// Says a text, delta by delta.
    async fn say(&mut self, part: &mut Part, text: &str, pace: Pace) {
        self.spoken_bytes += text.len();
        for (number, piece) in pieces(text, pace).enumerate() {
            if number > 0 && pace.delay_ms > 0 {
                self.writer.flush().await;
                sleep(Duration::from_millis(pace.delay_ms)).await;
            }
            self.writer.write(part.delta(piece), pace.writes).await;
        }
    }

    async fn finish(&mut self, mut item: Item, part: Part, pace: Pace) {
        for event in item.finish(part) {
            self.writer.write(event, pace.writes).await;
        }
        let event = self.response.finish(item);
        self.writer.write(event, pace.writes).await;
    }

    async fn end(mut self, end: End) -> io::Result<()> {
        let tokens = self.tokens();
        // The client may leave as soon as it has the last event, before the body is over.
        self.recording.done();
        let last = match end {
            End::Completed => Last::Completed(tokens),
            End::Incomplete(reason) => Last::Incomplete { reason, tokens },
            End::Failed(failed) => Last::Failed {
                message: failed
                    .message
                    .unwrap_or_else(|| format!("The response failed: {}.", failed.code)),
                code: failed.code,
            },
            End::Cut(Cut::Clean) => {
                self.writer.flush().await;
                return Ok(());
            }
            End::Cut(Cut::Abort) => {
                let event = self.response.end(Last::Completed(tokens));
                self.writer.write_half(&event).await;
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
        };
        self.writer
            .write(self.response.end(last), Writes::PerEvent)
            .await;
        Ok(())
    }

    fn tokens(&self) -> Tokens {
        let usage = self.usage;
        Tokens {
            input: usage
                .input_tokens
                .unwrap_or_else(|| self.request.estimated_tokens()),
            cached: usage.cached_tokens.unwrap_or(0),
            output: usage
                .output_tokens
                .unwrap_or_else(|| tokens_of(self.spoken_bytes)),
            reasoning: usage
                .reasoning_tokens
                .unwrap_or_else(|| tokens_of(self.reasoning_bytes)),
        }
    }
}

impl Act {
    fn writes(&self) -> Writes {
        match self {
            Self::Message(_, pace)
            | Self::Reasoning(_, pace)
            | Self::Call(_, pace)
            | Self::CustomCall(_, pace)
            | Self::Auto(_, pace) => pace.writes,
            Self::Wait(_) | Self::Usage(_) => Writes::default(),
        }
    }
}

/// Cuts a text into deltas, never inside a character.
fn pieces(text: &str, pace: Pace) -> impl Iterator<Item = &str> {
    let mut rest = text;
    iter::from_fn(move || {
        let end = pace
            .delta_chars
            .and_then(|chars| rest.char_indices().nth(chars.get()))
            .map_or(rest.len(), |(end, _)| end);
        let (piece, after) = rest.split_at(end);
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Text of so many characters, the same each time.
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
    fn deltas_are_cut_between_characters() {
        let by = |chars| Pace {
            delta_chars: NonZeroUsize::new(chars),
            ..Pace::default()
        };
        let cut = |text, chars| pieces(text, by(chars)).collect::<Vec<_>>();
        assert_eq!(cut("äöüß€", 2), ["äö", "üß", "€"]);
        assert_eq!(cut("abcd", 2), ["ab", "cd"]);
        assert_eq!(cut("abcd", 0), ["abcd"]);
        assert_eq!(cut("", 3), [""; 0]);
    }
}
