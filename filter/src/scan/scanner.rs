//! The automaton that reads a JSON object in chunks and finds its first top-level `model`.
//! The grammar is a table (`grammar`); the stack is a few bits (`nesting`); text goes by from quote to quote (`quotes`).

use std::ops::ControlFlow;

use super::grammar::{Move, State};
use super::nesting::{Container, Nesting};
use super::text::{closing_quote, ends_escaped};

/// Longest model name that is taken for one, in bytes; anything longer is in no catalogue.
const MAX_MODEL_BYTES: usize = 256;
/// The longest that such a name can be in JSON: two quotes, and six bytes (`\u0041`) for every one.
const MAX_KEPT_BYTES: usize = 2 + 6 * MAX_MODEL_BYTES;

/// What a body says about its model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The first top-level `model` is this string.
    Named(String),
    /// An object without `model`, or its `model` is null.
    Unnamed,
    /// The body is not one that a model could be read from.
    Refused(Fault),
}

/// Why no model can be read from a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is nothing but white space.
    Empty,
    /// The body begins with something other than an object.
    NotAnObject,
    /// The body is not JSON, or ends too early.
    Malformed,
    /// More than 127 containers are open at once.
    TooDeep,
    /// The `model` is neither a string nor null.
    NotText,
    /// The `model` is a string of more than 256 bytes, which is no model's name.
    TooLong,
}

/// Finds the first top-level `model` of a JSON object that arrives in chunks of any size.
///
/// Its memory is bounded by the longest model name, whatever the body is.
#[derive(Debug, Default)]
pub struct ModelScanner {
    state: State,
    nesting: Nesting,
    /// What the string is for that is being read, or was read last.
    role: Role,
    /// That string if it matters, quotes included and escapes as they came.
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
    /// The model's string has been kept.
    Named,
    Null,
    Fault(Fault),
}

type Step = ControlFlow<Stop>;

const fn fault(fault: Fault) -> Step {
    Step::Break(Stop::Fault(fault))
}

impl ModelScanner {
    /// Reads the next chunk; tells what has been found, or nothing as long as more is needed.
    ///
    /// Once there is a finding it stays, and further chunks are not looked at.
    pub fn feed(&mut self, chunk: &[u8]) -> Option<&Finding> {
        if self.finding.is_none()
            && let Step::Break(stop) = self.read(chunk)
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
        Step::Continue(())
    }

    /// Reads what `chunk` has of a string, the quote that ends it included; returns what follows.
    fn read_text<'a>(&mut self, chunk: &'a [u8]) -> ControlFlow<Stop, &'a [u8]> {
        match closing_quote(chunk, self.escaped) {
            Some(at) => {
                let (text, rest) = chunk.split_at_checked(at + 1).unwrap_or((chunk, &[]));
                self.escaped = false;
                self.keep(text);
                self.close_text()?;
                ControlFlow::Continue(rest)
            }
            None => {
                self.escaped = ends_escaped(chunk, self.escaped);
                self.keep(chunk);
                ControlFlow::Continue(&[])
            }
        }
    }

    /// Reads up to the inside of the next string; returns what follows.
    fn read_tokens<'a>(&mut self, chunk: &'a [u8]) -> ControlFlow<Stop, &'a [u8]> {
        let mut rest = chunk;
        while let Some((byte, after)) = rest.split_first() {
            rest = after;
            match self.state.on(*byte) {
                Move::To(state) => self.state = state,
                other => {
                    self.act(other)?;
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
            Move::OpenObject => return self.open(Container::Object, State::KeyOrClose),
            Move::OpenArray => return self.open(Container::Array, State::ValueOrClose),
            Move::CloseObject => return self.close(Container::Object),
            Move::CloseArray => return self.close(Container::Array),
            Move::Comma => {
                self.state = match self.nesting.innermost() {
                    Container::Array => State::Value,
                    Container::Object => State::Key,
                };
            }
            Move::OpenKey if self.nesting.depth() == 1 => self.open_text(Role::TopKey),
            Move::OpenKey => self.open_text(Role::Key),
            Move::OpenText => self.open_text(Role::Value),
            Move::OpenModel => self.open_text(Role::Model),
            Move::Null => return Step::Break(Stop::Null),
            Move::NotText => return fault(Fault::NotText),
            Move::NotAnObject => return fault(Fault::NotAnObject),
            Move::Malformed | Move::To(_) => return fault(Fault::Malformed),
        }
        Step::Continue(())
    }

    fn open(&mut self, container: Container, inside: State) -> Step {
        if !self.nesting.open(container) {
            return fault(Fault::TooDeep);
        }
        self.state = inside;
        Step::Continue(())
    }

    fn close(&mut self, container: Container) -> Step {
        if !self.nesting.close(container) {
            return fault(Fault::Malformed);
        }
        self.state = match self.nesting.depth() {
            0 => State::End,
            _ => State::CommaOrClose,
        };
        Step::Continue(())
    }

    fn open_text(&mut self, role: Role) {
        self.state = State::Text;
        self.role = role;
        self.kept.clear();
        self.keep(b"\"");
    }

    fn close_text(&mut self) -> Step {
        self.state = match self.role {
            Role::Value => State::CommaOrClose,
            Role::Key => State::Colon,
            Role::TopKey if self.is_model_key()? => State::ModelColon,
            Role::TopKey => State::Colon,
            Role::Model => return Step::Break(Stop::Named),
        };
        Step::Continue(())
    }

    /// Keeps of a string that matters what fits, and one byte more to tell what does not.
    fn keep(&mut self, bytes: &[u8]) {
        if matches!(self.role, Role::TopKey | Role::Model) {
            let room = MAX_KEPT_BYTES + 1 - self.kept.len();
            self.kept.extend(bytes.iter().take(room));
        }
    }

    /// Whether the key that has been kept is `model`; only one with escapes is worth decoding.
    fn is_model_key(&self) -> ControlFlow<Stop, bool> {
        if self.kept.len() > MAX_KEPT_BYTES || !self.kept.contains(&b'\\') {
            return ControlFlow::Continue(self.kept == b"\"model\"");
        }
        match serde_json::from_slice::<String>(&self.kept) {
            Ok(key) => ControlFlow::Continue(key == "model"),
            Err(_) => ControlFlow::Break(Stop::Fault(Fault::Malformed)),
        }
    }

    /// The finding for the string that has been kept as the value of `model`.
    fn model(&self) -> Finding {
        if self.kept.len() > MAX_KEPT_BYTES {
            return Finding::Refused(Fault::TooLong);
        }
        match serde_json::from_slice::<String>(&self.kept) {
            Ok(model) if model.len() > MAX_MODEL_BYTES => Finding::Refused(Fault::TooLong),
            Ok(model) => Finding::Named(model),
            Err(_) => Finding::Refused(Fault::Malformed),
        }
    }
}
