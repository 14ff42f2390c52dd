//! The automaton that reads a JSON object in chunks and finds its first top-level `model`.
//! The grammar is a table (`grammar`), the stack a few bits (`nesting`), and text goes by at once (`text`).

use std::ops::ControlFlow;

use super::grammar::{Move, State};
use super::nesting::{Container, Nesting};
use super::text::closing_quote;

/// Longest name that is taken for a model's, in bytes; nothing in a catalogue comes near it.
const MAX_MODEL_BYTES: usize = 256;
/// The longest that such a name can be in JSON: six bytes (`\u0041`) for every one.
const MAX_KEPT_BYTES: usize = 6 * MAX_MODEL_BYTES;

/// What a body says about its model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The first top-level `model` is this string.
    Named(String),
    /// An object without `model`, or its `model` is null.
    Unnamed,
    /// No model can be read from the body.
    Refused(Fault),
}

/// Why no model can be read from a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is nothing but white space.
    Empty,
    /// The body begins with something other than an object.
    NotAnObject,
    /// The body is not JSON, or it ends too early.
    Malformed,
    /// More than 127 containers are open at once.
    TooDeep,
    /// The `model` is neither a string nor null.
    NotText,
    /// The `model` is longer than 256 bytes.
    TooLong,
}

/// Finds the first top-level `model` of a JSON object that arrives in chunks of any size.
///
/// It keeps at most as much of the body as the longest name can take, 1.5 KiB.
#[derive(Debug, Default)]
pub struct ModelScanner {
    state: State,
    nesting: Nesting,
    /// What the string is for that is being read.
    role: Role,
    /// The inside of that string if it matters, with escapes as they came.
    kept: Vec<u8>,
    /// Whether the chunk before ended in a backslash that escapes the first byte of the next.
    escaped: bool,
    finding: Option<Finding>,
}

/// What a string is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Role {
    /// A value that does not matter.
    #[default]
    Value,
    /// A key of an object further in.
    Key,
    /// A key of the outermost object.
    TopKey,
    /// The value of the top-level `model`.
    Model,
}

/// Why the scan ends before the body does.
#[derive(Clone, Copy, Debug)]
enum Stop {
    /// The string that has been kept is the model.
    Named,
    /// The model is null.
    Null,
    Fault(Fault),
}

type Step<T = ()> = ControlFlow<Stop, T>;

const fn fault<T>(fault: Fault) -> Step<T> {
    ControlFlow::Break(Stop::Fault(fault))
}

impl ModelScanner {
    /// Reads the next chunk; tells what has been found, or nothing as long as more is needed.
    ///
    /// A finding stays: chunks after it are not looked at.
    pub fn feed(&mut self, chunk: &[u8]) -> Option<&Finding> {
        if self.finding.is_none()
            && let ControlFlow::Break(stop) = self.read(chunk)
        {
            self.finding = Some(match stop {
                Stop::Named => self.model(),
                Stop::Null => Finding::Unnamed,
                Stop::Fault(fault) => Finding::Refused(fault),
            });
        }
        self.finding.as_ref()
    }

    /// What the body says, now that it has ended.
    pub fn finish(self) -> Finding {
        match (self.finding, self.state) {
            (Some(finding), _) => finding,
            (None, State::Start) => Finding::Refused(Fault::Empty),
            (None, State::End) => Finding::Unnamed,
            (None, _) => Finding::Refused(Fault::Malformed),
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

    /// Reads what `chunk` has of a string, up to and with its closing quote; returns what follows.
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

    /// Reads up to the inside of the next string; returns what follows.
    fn read_tokens<'a>(&mut self, chunk: &'a [u8]) -> Step<&'a [u8]> {
        let mut rest = chunk;
        while let Some((byte, after)) = rest.split_first() {
            rest = after;
            match self.state.on(*byte) {
                // Nearly every byte; none of them leads into a string.
                Move::To(state) => self.state = state,
                action => {
                    self.act(action)?;
                    if self.state == State::Text {
                        break;
                    }
                }
            }
        }
        ControlFlow::Continue(rest)
    }

    fn act(&mut self, action: Move) -> Step {
        match action {
            Move::To(state) => self.state = state,
            Move::OpenObject => return self.open(Container::Object, State::KeyOrClose),
            Move::OpenArray => return self.open(Container::Array, State::ValueOrClose),
            Move::CloseObject => return self.close(Container::Object),
            Move::CloseArray => return self.close(Container::Array),
            Move::Comma => {
                self.state = match self.nesting.innermost() {
                    Some(Container::Object) => State::Key,
                    Some(Container::Array) | None => State::Value,
                };
            }
            Move::OpenKey if self.nesting.depth() == 1 => self.open_text(Role::TopKey),
            Move::OpenKey => self.open_text(Role::Key),
            Move::OpenModel => self.open_text(Role::Model),
            Move::OpenText => self.open_text(Role::Value),
            Move::Null => return ControlFlow::Break(Stop::Null),
            Move::NotText => return fault(Fault::NotText),
            Move::NotAnObject => return fault(Fault::NotAnObject),
            Move::Malformed => return fault(Fault::Malformed),
        }
        ControlFlow::Continue(())
    }

    fn open(&mut self, container: Container, inside: State) -> Step {
        if !self.nesting.open(container) {
            return fault(Fault::TooDeep);
        }
        self.state = inside;
        ControlFlow::Continue(())
    }

    fn close(&mut self, container: Container) -> Step {
        if !self.nesting.close(container) {
            return fault(Fault::Malformed);
        }
        self.state = match self.nesting.depth() {
            0 => State::End,
            _ => State::CommaOrClose,
        };
        ControlFlow::Continue(())
    }

    fn open_text(&mut self, role: Role) {
        self.state = State::Text;
        self.role = role;
        self.kept.clear();
    }

    fn close_text(&mut self) -> Step {
        self.state = match self.role {
            Role::Value => State::CommaOrClose,
            Role::Key => State::Colon,
            Role::TopKey if self.is_model_key()? => State::ModelColon,
            Role::TopKey => State::Colon,
            Role::Model => return ControlFlow::Break(Stop::Named),
        };
        ControlFlow::Continue(())
    }

    /// Keeps of a string that matters what fits, and one byte more to tell what does not.
    fn keep(&mut self, text: &[u8]) {
        if matches!(self.role, Role::TopKey | Role::Model) {
            let room = MAX_KEPT_BYTES + 1 - self.kept.len();
            self.kept.extend(text.iter().take(room));
        }
    }

    /// Whether the key that has been kept is `model`; one with escapes has to be decoded to tell.
    fn is_model_key(&self) -> Step<bool> {
        if self.kept.len() > MAX_KEPT_BYTES || !self.kept.contains(&b'\\') {
            return ControlFlow::Continue(self.kept == b"model");
        }
        match decode(&self.kept) {
            Some(key) => ControlFlow::Continue(key == "model"),
            None => fault(Fault::Malformed),
        }
    }

    /// The finding when the string that has been kept is the model.
    fn model(&self) -> Finding {
        if self.kept.len() > MAX_KEPT_BYTES {
            return Finding::Refused(Fault::TooLong);
        }
        match decode(&self.kept) {
            Some(model) if model.len() <= MAX_MODEL_BYTES => Finding::Named(model),
            Some(_) => Finding::Refused(Fault::TooLong),
            None => Finding::Refused(Fault::Malformed),
        }
    }
}

/// The string whose inside is `raw`, if it is one.
fn decode(raw: &[u8]) -> Option<String> {
    if raw.iter().all(|byte| !matches!(byte, b'\\' | 0..0x20)) {
        return String::from_utf8(raw.to_vec()).ok();
    }
    serde_json::from_slice(&[b"\"", raw, b"\""].concat()).ok()
}
