//! One direction of a stream: its callbacks, what the filter holds and what goes on.
//! Source: Envoy's filter manager and wasm `Context`, as Envoy 1.40 behaves.

use std::collections::VecDeque;

use crate::wasm_host::abi::{Direction, wire_len};
use crate::wasm_host::headers::Headers;
use super::message::Message;
use crate::wasm_host::guest::LocalReply;
use crate::wasm_host::state::Rules;
use crate::wasm_host::vm::{Trap, Vm};

/// How a direction goes on after a callback.
#[derive(Debug)]
pub(in crate::wasm_host) enum Flow {
    /// There are more callbacks.
    More,
    /// All of it went on.
    Done,
    /// The filter answered in the place of whoever comes next.
    Replied(LocalReply),
    /// The filter holds more than it may.
    TooLarge,
    /// The filter paused and nothing will wake it.
    Hung(&'static str),
    /// The VM is gone.
    Trapped(Trap),
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Head,
    Body,
    Trailers,
    Done,
}

/// A message on its way through the filter.
#[derive(Debug)]
pub(in crate::wasm_host) struct Half {
    direction: Direction,
    stage: Stage,
    head: Headers,
    /// Pieces still to come, the last one marked when the body itself tells the end.
    pieces: VecDeque<(Vec<u8>, bool)>,
    trailers: Option<Headers>,
    /// What went on.
    pub(in crate::wasm_host) sent: Message,
}

impl Half {
    pub(in crate::wasm_host) fn new(
        direction: Direction,
        head: Headers,
        pieces: Vec<(Vec<u8>, bool)>,
        trailers: Option<Headers>,
    ) -> Self {
        Self {
            direction,
            stage: Stage::Head,
            head,
            pieces: pieces.into(),
            trailers,
            sent: Message::default(),
        }
    }

    /// Runs the next callback.
    pub(in crate::wasm_host) fn step(&mut self, vm: &mut Vm, id: u32, rules: Rules) -> Flow {
        let flow = match self.stage {
            Stage::Head => self.on_head(vm, id, rules),
            Stage::Body => self.on_piece(vm, id, rules),
            Stage::Trailers => self.on_trailers(vm, id),
            Stage::Done => Ok(Flow::Done),
        };
        flow.unwrap_or_else(|end| end)
    }

    fn on_head(&mut self, vm: &mut Vm, id: u32, rules: Rules) -> Result<Flow, Flow> {
        let callback = match self.direction {
            Direction::Request => "proxy_on_request_headers",
            Direction::Response => "proxy_on_response_headers",
        };
        let head = std::mem::take(&mut self.head);
        let ends_here = self.pieces.is_empty() && self.trailers.is_none();
        let args = [wire_len(head.len()), u32::from(ends_here)];
        vm.view(id).half(self.direction).headers = Some(head);
        self.advance();
        match call(vm, callback, id, &args)? {
            Action::Continue => Ok(self.release(vm, id)),
            Action::Pause if rules.hold_headers && !ends_here => Ok(Flow::More),
            Action::Pause => Ok(Flow::Hung(callback)),
        }
    }

    fn on_piece(&mut self, vm: &mut Vm, id: u32, rules: Rules) -> Result<Flow, Flow> {
        let callback = match self.direction {
            Direction::Request => "proxy_on_request_body",
            Direction::Response => "proxy_on_response_body",
        };
        let (piece, ends_here) = self.pieces.pop_front().unwrap_or_default();
        let view = vm.view(id).half(self.direction);
        let was_held = view.body.is_some();
        let body = view.body.get_or_insert_default();
        body.extend(piece);
        let len = body.len();
        let too_large = len > rules.buffer_limit_bytes;
        if was_held && too_large {
            return Ok(Flow::TooLarge);
        }
        self.advance();
        match call(vm, callback, id, &[wire_len(len), u32::from(ends_here)])? {
            Action::Continue => Ok(self.release(vm, id)),
            Action::Pause if too_large => Ok(Flow::TooLarge),
            Action::Pause if ends_here => Ok(Flow::Hung(callback)),
            Action::Pause => Ok(Flow::More),
        }
    }

    fn on_trailers(&mut self, vm: &mut Vm, id: u32) -> Result<Flow, Flow> {
        let callback = match self.direction {
            Direction::Request => "proxy_on_request_trailers",
            Direction::Response => "proxy_on_response_trailers",
        };
        let trailers = self.trailers.take().unwrap_or_default();
        let args = [wire_len(trailers.len())];
        vm.view(id).half(self.direction).trailers = Some(trailers);
        self.advance();
        match call(vm, callback, id, &args)? {
            Action::Continue => Ok(self.release(vm, id)),
            Action::Pause => Ok(Flow::Hung(callback)),
        }
    }

    /// Sends on all that the guest has seen; from now on it can no longer be changed.
    fn release(&mut self, vm: &mut Vm, id: u32) -> Flow {
        let view = vm.view(id).half(self.direction);
        if let Some(headers) = view.headers.take() {
            self.sent.headers = headers;
        }
        let piece = view.body.take().filter(|body| !body.is_empty());
        self.sent.pieces.extend(piece);
        if let Some(trailers) = view.trailers.take() {
            self.sent.trailers = Some(trailers);
        }
        self.sent.complete = matches!(self.stage, Stage::Done);
        if self.sent.complete {
            Flow::Done
        } else {
            Flow::More
        }
    }

    fn advance(&mut self) {
        self.stage = if !self.pieces.is_empty() {
            Stage::Body
        } else if self.trailers.is_some() {
            Stage::Trailers
        } else {
            Stage::Done
        };
    }

    /// Whether the head has gone on.
    pub(in crate::wasm_host) fn has_started(&self) -> bool {
        !self.sent.headers.is_empty()
    }
}

/// What a callback asks for.
enum Action {
    Continue,
    Pause,
}

/// Calls the guest; a reply that it sent counts, whatever it returned.
fn call(vm: &mut Vm, callback: &'static str, id: u32, args: &[u32]) -> Result<Action, Flow> {
    let returned = vm.call_stream(callback, id, args);
    let returned = returned.map_err(Flow::Trapped)?;
    match (vm.view(id).reply.take(), returned) {
        (Some(reply), _) => Err(Flow::Replied(reply)),
        (None, 0) => Ok(Action::Continue),
        (None, _) => Ok(Action::Pause),
    }
}
