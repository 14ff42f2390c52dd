//! A direction of a stream: its callbacks, the part that the filter holds, and the part that is forwarded.
//! Follows Envoy's filter manager and wasm `Context`, as in Envoy 1.40.

use std::collections::VecDeque;

use super::message::Message;
use crate::wasm_host::abi::{Direction, wire_len};
use crate::wasm_host::guest::LocalReply;
use crate::wasm_host::headers::Headers;
use crate::wasm_host::state::StreamRules;
use crate::wasm_host::vm::{Trap, Vm};

/// The state of a direction after a callback.
#[derive(Debug)]
pub(in crate::wasm_host) enum Flow {
    /// More callbacks follow.
    More,
    /// The message was forwarded completely.
    Done,
    /// The filter sent a local reply.
    Replied(LocalReply),
    /// The filter holds more than the limit.
    TooLarge,
    /// The filter paused, and no event will resume the stream.
    Hung(&'static str),
    /// The VM trapped.
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
pub(in crate::wasm_host) struct HalfStream {
    direction: Direction,
    stage: Stage,
    head: Headers,
    /// The chunks still to come; the last one is marked if it ends the stream.
    pieces: VecDeque<(Vec<u8>, bool)>,
    trailers: Option<Headers>,
    /// The forwarded part.
    pub(in crate::wasm_host) sent: Message,
}

impl HalfStream {
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
    pub(in crate::wasm_host) fn step(&mut self, vm: &mut Vm, id: u32, rules: StreamRules) -> Flow {
        let flow = match self.stage {
            Stage::Head => self.on_head(vm, id, rules),
            Stage::Body => self.on_piece(vm, id, rules),
            Stage::Trailers => self.on_trailers(vm, id),
            Stage::Done => Ok(Flow::Done),
        };
        flow.unwrap_or_else(|end| end)
    }

    fn on_head(&mut self, vm: &mut Vm, id: u32, rules: StreamRules) -> Result<Flow, Flow> {
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

    fn on_piece(&mut self, vm: &mut Vm, id: u32, rules: StreamRules) -> Result<Flow, Flow> {
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

    /// Forwards the parts that the guest has seen; they can no longer be changed.
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

    /// Whether the head was forwarded.
    pub(in crate::wasm_host) fn has_started(&self) -> bool {
        !self.sent.headers.is_empty()
    }
}

/// The result of a callback.
enum Action {
    Continue,
    Pause,
}

/// Calls the guest. A local reply counts, whatever the callback returns.
fn call(vm: &mut Vm, callback: &'static str, id: u32, args: &[u32]) -> Result<Action, Flow> {
    let returned = vm.call_stream(callback, id, args).map_err(Flow::Trapped)?;
    match (vm.view(id).reply.take(), returned) {
        (Some(reply), _) => Err(Flow::Replied(reply)),
        (None, 0) => Ok(Action::Continue),
        (None, _) => Ok(Action::Pause),
    }
}
