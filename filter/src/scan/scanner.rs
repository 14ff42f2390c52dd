//! The automaton that reads a JSON object in chunks and finds its first top-level `model`, and its reasoning efforts if
//! they matter. The grammar is a table (`grammar`), the stack is a bit set (`nesting`), and strings are skipped in blocks (`text`).

use std::ops::ControlFlow;

use super::efforts::{EffortNames, NextValue};
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
/// Keeps at most as much of the body as the longest model name needs, 1.5 KiB, and the names of a few efforts.
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
    /// The efforts found so far; `None` ends the scan at the model.
    efforts: Option<EffortNames>,
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
    /// A key of the top-level `reasoning`.
    ReasoningKey,
    /// The value of a field that holds an effort.
    Effort,
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
    /// A scanner that reads the whole body and collects its reasoning efforts.
    pub fn with_efforts() -> Self {
        Self {
            efforts: Some(EffortNames::default()),
            ..Self::default()
        }
    }

    /// Reads the next chunk; returns the model once it is known.
    ///
    /// The first result is final, and later chunks are ignored, except for efforts: with these, an invalid rest of the
    /// body makes the result invalid.
    pub fn feed(&mut self, chunk: &[u8]) -> Option<&ModelField> {
        let is_ended = match &self.result {
            Some(ModelField::Invalid(_)) => true,
            Some(ModelField::Named(_) | ModelField::Missing) => self.efforts.is_none(),
            None => false,
        };
        if !is_ended && let ControlFlow::Break(end) = self.read(chunk) {
            self.result = Some(self.field(end));
        }
        self.result.as_ref()
    }

    /// Returns the efforts found so far.
    pub fn efforts(&self) -> Option<&EffortNames> {
        self.efforts.as_ref()
    }

    /// Returns the result at the end of the body.
    pub fn finish(&self) -> ModelField {
        match (self.result.clone(), self.state) {
            (Some(ModelField::Named(_) | ModelField::Missing), state)
                if self.efforts.is_some() && state != State::End =>
            {
                ModelField::Invalid(ScanError::Malformed)
            }
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
            Transition::OpenObject => {
                self.on_efforts(EffortNames::on_object);
                return self.open(Container::Object, State::KeyOrClose);
            }
            Transition::OpenArray => {
                self.on_efforts(EffortNames::on_value);
                return self.open(Container::Array, State::ValueOrClose);
            }
            Transition::CloseObject => return self.close(Container::Object),
            Transition::CloseArray => return self.close(Container::Array),
            Transition::Comma => {
                self.on_efforts(EffortNames::on_value);
                // `None` cannot occur: after the outermost object the state is `End`.
                self.state = match self.nesting.innermost() {
                    Some(Container::Object) => State::Key,
                    Some(Container::Array) | None => State::Value,
                };
            }
            Transition::OpenKey if self.nesting.depth() == 1 => self.open_text(StringRole::TopKey),
            Transition::OpenKey if self.is_in_reasoning() => {
                self.open_text(StringRole::ReasoningKey);
            }
            Transition::OpenKey => self.open_text(StringRole::Key),
            Transition::OpenModel => self.open_text(StringRole::Model),
            Transition::OpenText if self.is_at_effort() => self.open_text(StringRole::Effort),
            Transition::OpenText => self.open_text(StringRole::Value),
            Transition::Null => return self.end_or_go_on(ScanEnd::Null),
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
        let depth = self.nesting.depth();
        self.on_efforts(|efforts| efforts.on_close(depth));
        ControlFlow::Continue(())
    }

    /// Ends the scan at the model, unless efforts may follow.
    fn end_or_go_on(&mut self, end: ScanEnd) -> Step {
        if self.efforts.is_none() {
            return ControlFlow::Break(end);
        }
        let field = self.field(end);
        if let ModelField::Invalid(error) = field {
            return invalid(error);
        }
        self.result = Some(field);
        self.state = State::CommaOrClose;
        ControlFlow::Continue(())
    }

    fn on_efforts(&mut self, change: impl FnOnce(&mut EffortNames)) {
        if let Some(efforts) = &mut self.efforts {
            change(efforts);
        }
    }

    fn is_in_reasoning(&self) -> bool {
        let depth = self.nesting.depth();
        let efforts = self.efforts.as_ref();
        efforts.is_some_and(|efforts| efforts.is_in_reasoning(depth))
    }

    fn is_at_effort(&self) -> bool {
        self.efforts.as_ref().is_some_and(EffortNames::is_next)
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
            // A second `model` is an ordinary field here; the sidecar rejects duplicates.
            StringRole::TopKey if self.result.is_none() && self.is_key(b"model")? => {
                State::ModelColon
            }
            StringRole::TopKey => {
                let next = self.next_value()?;
                self.on_efforts(|efforts| efforts.on_key(next));
                State::Colon
            }
            StringRole::ReasoningKey => {
                if self.is_key(b"effort")? {
                    self.on_efforts(|efforts| efforts.on_key(NextValue::Effort));
                }
                State::Colon
            }
            StringRole::Effort => {
                self.keep_effort()?;
                State::CommaOrClose
            }
            StringRole::Model => return self.end_or_go_on(ScanEnd::Named),
        };
        ControlFlow::Continue(())
    }

    /// Keeps the content of a string if its role needs it, up to one byte over the limit, so that an overflow shows.
    fn keep(&mut self, text: &[u8]) {
        if !matches!(self.role, StringRole::Value | StringRole::Key) {
            // Cannot underflow: `kept` is at most one byte over the limit.
            let room = MAX_KEPT_BYTES + 1 - self.kept.len();
            self.kept.extend(text.iter().take(room));
        }
    }

    /// Whether the kept key is `name`. A key with escapes must be decoded first: `"mod\u0065l"` is the same key.
    fn is_key(&self, name: &[u8]) -> Step<bool> {
        if self.kept.len() > MAX_KEPT_BYTES || !self.kept.contains(&b'\\') {
            return ControlFlow::Continue(self.kept == name);
        }
        match decode(&self.kept) {
            Some(key) => ControlFlow::Continue(key.as_bytes() == name),
            None => invalid(ScanError::Malformed),
        }
    }

    /// The field that the kept key of the outermost object names.
    fn next_value(&self) -> Step<NextValue> {
        if self.efforts.is_none() {
            return ControlFlow::Continue(NextValue::Other);
        }
        for name in [&b"reasoning_effort"[..], b"reasoningEffort"] {
            if self.is_key(name)? {
                return ControlFlow::Continue(NextValue::Effort);
            }
        }
        ControlFlow::Continue(match self.is_key(b"reasoning")? {
            true => NextValue::Reasoning,
            false => NextValue::Other,
        })
    }

    /// Adds the kept string. One that is longer than what is kept is not the name of an effort.
    fn keep_effort(&mut self) -> Step {
        if self.kept.len() > MAX_KEPT_BYTES {
            self.on_efforts(EffortNames::on_value);
            return ControlFlow::Continue(());
        }
        let Some(effort) = decode(&self.kept) else {
            return invalid(ScanError::Malformed);
        };
        self.on_efforts(|efforts| efforts.add(effort));
        ControlFlow::Continue(())
    }

    fn field(&self, end: ScanEnd) -> ModelField {
        match end {
            ScanEnd::Named => self.model(),
            ScanEnd::Null => ModelField::Missing,
            ScanEnd::Invalid(error) => ModelField::Invalid(error),
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
