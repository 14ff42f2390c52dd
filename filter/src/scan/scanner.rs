//! The automaton that reads a JSON object in chunks and finds its first top-level `model`.
//! The grammar is a table (`grammar`), the stack is a bit set (`nesting`), and strings are skipped in blocks (`text`).

use std::ops::ControlFlow;

use super::grammar::{State, Transition};
use super::nesting::{Container, Nesting};
use super::text::closing_quote;

/// The longest model name in bytes; the names of a catalogue are limited to the same length.
const MAX_MODEL_BYTES: usize = 256;
/// The longest such name in JSON: six bytes (`\u0041`) for each byte.
const MAX_KEPT_BYTES: usize = 6 * MAX_MODEL_BYTES;

/// The top-level `model` of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelField {
    /// The first top-level `model` is this string.
    Named(String),
    /// The object has no `model`, or `model` is null.
    Missing,
    /// The body or its `model` is invalid.
    Invalid(ScanError),
}

/// The reason for which a body has no readable model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanError {
    /// The body is empty or white space only.
    Empty,
    /// The body does not start with an object.
    NotAnObject,
    /// The body is not JSON, or it ends too early.
    Malformed,
    /// More than 127 containers are open at once.
    TooDeep,
    /// `model` is neither a string nor null.
    NotAString,
    /// `model` is longer than 256 bytes.
    TooLong,
}

/// Finds the first top-level `model` of a JSON object that arrives in chunks of any size.
///
/// Keeps at most as much of the body as the longest model name needs, 1.5 KiB.
#[derive(Debug, Default)]
pub struct ModelScanner {
    state: State,
    nesting: Nesting,
    /// The role of the string that is being read.
    role: StringRole,
    /// The content of that string if its role needs it, with escapes undecoded.
    kept: Vec<u8>,
    /// Whether the previous chunk ended in a backslash that escapes the first byte of the next.
    escaped: bool,
    result: Option<ModelField>,
}

/// The role of a string in the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum StringRole {
    /// Any value but the top-level `model`.
    #[default]
    Value,
    /// A key of a nested object.
    Key,
    /// A key of the outermost object.
    TopKey,
    /// The value of the top-level `model`.
    Model,
}

/// The reason for which the scan ends before the body does.
#[derive(Clone, Copy, Debug)]
enum ScanEnd {
    /// The string in `kept` is the model.
    Named,
    /// The model is null.
    Null,
    Invalid(ScanError),
}

type Step<T = ()> = ControlFlow<ScanEnd, T>;

const fn invalid<T>(error: ScanError) -> Step<T> {
    ControlFlow::Break(ScanEnd::Invalid(error))
}

impl ModelScanner {
    /// Reads the next chunk; returns the result once it is known.
    ///
    /// The first result is final: later chunks are ignored.
    pub fn feed(&mut self, chunk: &[u8]) -> Option<&ModelField> {
        if self.result.is_none()
            && let ControlFlow::Break(end) = self.read(chunk)
        {
            self.result = Some(match end {
                ScanEnd::Named => self.model(),
                ScanEnd::Null => ModelField::Missing,
                ScanEnd::Invalid(error) => ModelField::Invalid(error),
            });
        }
        self.result.as_ref()
    }

    /// Returns the result at the end of the body.
    pub fn finish(self) -> ModelField {
        match (self.result, self.state) {
            (Some(result), _) => result,
            (None, State::Start) => ModelField::Invalid(ScanError::Empty),
            (None, State::End) => ModelField::Missing,
            (None, _) => ModelField::Invalid(ScanError::Malformed),
        }
    }

    fn read(&mut self, chunk: &[u8]) -> Step {
        let mut rest = chunk;
        while !rest.is_empty() {
            rest = match self.state {
                State::Text => self.read_text(rest)?,
                _ => self.read_tokens(rest)?,
            };
        }
        ControlFlow::Continue(())
    }

    /// Reads a string up to and including its closing quote; returns the rest of the chunk.
    fn read_text<'a>(&mut self, chunk: &'a [u8]) -> Step<&'a [u8]> {
        match closing_quote(chunk, &mut self.escaped) {
            Some(at) => {
                self.keep(chunk.get(..at).unwrap_or_default());
                self.close_text()?;
                ControlFlow::Continue(chunk.get(at + 1..).unwrap_or_default())
            }
            None => {
                self.keep(chunk);
                ControlFlow::Continue(&[])
            }
        }
    }

    /// Reads up to the content of the next string; returns the rest of the chunk.
    fn read_tokens<'a>(&mut self, chunk: &'a [u8]) -> Step<&'a [u8]> {
        let mut rest = chunk;
        while let Some((byte, after)) = rest.split_first() {
            rest = after;
            match self.state.on(*byte) {
                // The common case first: such a transition never enters a string, so no check for one is needed.
                Transition::To(state) => self.state = state,
                transition => {
                    self.apply(transition)?;
                    if self.state == State::Text {
                        break;
                    }
                }
            }
        }
        ControlFlow::Continue(rest)
    }

    fn apply(&mut self, transition: Transition) -> Step {
        match transition {
            Transition::To(state) => self.state = state,
            Transition::OpenObject => return self.open(Container::Object, State::KeyOrClose),
            Transition::OpenArray => return self.open(Container::Array, State::ValueOrClose),
            Transition::CloseObject => return self.close(Container::Object),
            Transition::CloseArray => return self.close(Container::Array),
            Transition::Comma => {
                // `None` cannot occur: after the outermost object the state is `End`.
                self.state = match self.nesting.innermost() {
                    Some(Container::Object) => State::Key,
                    Some(Container::Array) | None => State::Value,
                };
            }
            Transition::OpenKey if self.nesting.depth() == 1 => self.open_text(StringRole::TopKey),
            Transition::OpenKey => self.open_text(StringRole::Key),
            Transition::OpenModel => self.open_text(StringRole::Model),
            Transition::OpenText => self.open_text(StringRole::Value),
            Transition::Null => return ControlFlow::Break(ScanEnd::Null),
            Transition::NotAString => return invalid(ScanError::NotAString),
            Transition::NotAnObject => return invalid(ScanError::NotAnObject),
            Transition::Malformed => return invalid(ScanError::Malformed),
        }
        ControlFlow::Continue(())
    }

    fn open(&mut self, container: Container, inside: State) -> Step {
        if !self.nesting.open(container) {
            return invalid(ScanError::TooDeep);
        }
        self.state = inside;
        ControlFlow::Continue(())
    }

    fn close(&mut self, container: Container) -> Step {
        if !self.nesting.close(container) {
            return invalid(ScanError::Malformed);
        }
        self.state = match self.nesting.depth() {
            0 => State::End,
            _ => State::CommaOrClose,
        };
        ControlFlow::Continue(())
    }

    fn open_text(&mut self, role: StringRole) {
        self.state = State::Text;
        self.role = role;
        self.kept.clear();
    }

    fn close_text(&mut self) -> Step {
        self.state = match self.role {
            StringRole::Value => State::CommaOrClose,
            StringRole::Key => State::Colon,
            StringRole::TopKey if self.is_model_key()? => State::ModelColon,
            StringRole::TopKey => State::Colon,
            StringRole::Model => return ControlFlow::Break(ScanEnd::Named),
        };
        ControlFlow::Continue(())
    }

    /// Keeps the content of a string if its role needs it, up to one byte over the limit, so that an overflow shows.
    fn keep(&mut self, text: &[u8]) {
        if matches!(self.role, StringRole::TopKey | StringRole::Model) {
            // Cannot underflow: `kept` is at most one byte over the limit.
            let room = MAX_KEPT_BYTES + 1 - self.kept.len();
            self.kept.extend(text.iter().take(room));
        }
    }

    /// Whether the kept key is `model`. A key with escapes must be decoded first: `"mod\u0065l"` is the same key.
    fn is_model_key(&self) -> Step<bool> {
        if self.kept.len() > MAX_KEPT_BYTES || !self.kept.contains(&b'\\') {
            return ControlFlow::Continue(self.kept == b"model");
        }
        match decode(&self.kept) {
            Some(key) => ControlFlow::Continue(key == "model"),
            None => invalid(ScanError::Malformed),
        }
    }

    /// The result when the kept string is the model.
    fn model(&self) -> ModelField {
        if self.kept.len() > MAX_KEPT_BYTES {
            return ModelField::Invalid(ScanError::TooLong);
        }
        match decode(&self.kept) {
            Some(model) if model.len() <= MAX_MODEL_BYTES => ModelField::Named(model),
            Some(_) => ModelField::Invalid(ScanError::TooLong),
            None => ModelField::Invalid(ScanError::Malformed),
        }
    }
}

/// Decodes the content of a JSON string.
fn decode(raw: &[u8]) -> Option<String> {
    if raw.iter().all(|byte| !matches!(byte, b'\\' | 0..0x20)) {
        return String::from_utf8(raw.to_vec()).ok();
    }
    serde_json::from_slice(&[b"\"", raw, b"\""].concat()).ok()
}
