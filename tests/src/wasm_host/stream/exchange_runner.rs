//! One request through the filter, callback by callback, from the context's creation to its deletion.
//! Source: proxy-wasm ABI 0.2.1, section "Stream context"; local replies and details as Envoy 1.40 gives them.

use std::collections::BTreeMap;

use crate::wasm_host::abi::Direction;
use super::exchange::{Exchange, Outcome};
use super::half_stream::{Flow, Half};
use crate::wasm_host::headers::Headers;
use super::message::{Answerer, Message, Protocol, Request, Response};
use crate::wasm_host::guest::{LocalReply, StreamView};
use crate::wasm_host::guest::Usage;
use crate::wasm_host::state::Rules;
use crate::wasm_host::vm::Vm;

/// Envoy's response flag `DC`, "downstream connection termination".
const FLAG_CLIENT_LEFT: u64 = 16384;

/// A stream whose callbacks are run one at a time, so that several can share a VM.
#[derive(Debug)]
pub(in crate::wasm_host) struct Stream {
    id: u32,
    rules: Rules,
    request: Half,
    response: Option<(Half, Answerer)>,
    is_head_request: bool,
    /// Callbacks until the client hangs up.
    patience: Option<usize>,
    properties: BTreeMap<String, Vec<u8>>,
    usage: Usage,
    outcome: Option<Outcome>,
}

impl Stream {
    /// Creates the stream and its context.
    pub(in crate::wasm_host) fn open(vm: &mut Vm, request: Request, rules: Rules) -> Self {
        let properties = properties(&request);
        let view = StreamView {
            properties: properties.clone(),
            ..StreamView::default()
        };
        let (id, created) = vm.open_stream(view);
        let is_head_request = request.headers.get(":method") == Some(b"HEAD");
        let pieces = with_end(request.pieces, request.protocol, request.trailers.is_some());
        Self {
            id,
            rules,
            request: Half::new(
                Direction::Request,
                request.headers,
                pieces,
                request.trailers,
            ),
            response: None,
            is_head_request,
            patience: request.leaves_after,
            properties,
            usage: vm.take_usage(),
            outcome: created.err().map(Outcome::Trapped),
        }
    }

    /// Runs one callback; answers whether the stream is over.
    pub(in crate::wasm_host) fn step(
        &mut self,
        vm: &mut Vm,
        upstream: &mut dyn FnMut(&Message) -> Response,
    ) -> bool {
        if self.outcome.is_none() && !self.client_leaves(vm) {
            let flow = match &mut self.response {
                None => self.request.step(vm, self.id, self.rules),
                Some((half, _)) => half.step(vm, self.id, self.rules),
            };
            self.on_flow(vm, flow, upstream);
        }
        if self.outcome.is_some() {
            self.close(vm);
        }
        self.usage.absorb(vm.take_usage());
        self.outcome.is_some()
    }

    /// Whether the VM died in this stream.
    pub(in crate::wasm_host) fn has_trapped(&self) -> bool {
        matches!(self.outcome, Some(Outcome::Trapped(_)))
    }

    /// What became of it; a stream that was not over is reset, as when its VM dies in another stream.
    pub(in crate::wasm_host) fn into_exchange(self) -> Exchange {
        let touched = self.request.has_started();
        Exchange {
            outcome: self.outcome.unwrap_or(Outcome::Reset),
            upstream: touched.then_some(self.request.sent),
            properties: self.properties,
            calls: self.usage.calls,
            logs: self.usage.logs,
            fuel: self.usage.fuel,
        }
    }

    fn on_flow(&mut self, vm: &mut Vm, flow: Flow, upstream: &mut dyn FnMut(&Message) -> Response) {
        match (flow, self.response.is_some()) {
            (Flow::More, _) => {}
            (Flow::Done, false) => {
                let response = upstream(&self.request.sent);
                self.answer(vm, response, "via_upstream");
            }
            (Flow::Done, true) => self.outcome = self.answered(),
            (Flow::Replied(reply), _) => self.on_reply(vm, &reply),
            (Flow::TooLarge, false) => {
                let details = "request_payload_too_large";
                let response = Response::from_envoy(413, details, "Payload Too Large");
                self.answer(vm, response.header("connection", "close"), details);
            }
            (Flow::TooLarge, true) => self.outcome = Some(Outcome::Reset),
            (Flow::Hung(callback), _) => self.outcome = Some(Outcome::Hung(callback)),
            (Flow::Trapped(trap), _) => self.outcome = Some(Outcome::Trapped(trap)),
        }
    }

    /// A reply to the request runs through the response callbacks; one to a response replaces it as it stands.
    fn on_reply(&mut self, vm: &mut Vm, reply: &LocalReply) {
        let response = local_response(reply);
        match &self.response {
            None => self.answer(vm, response, &reply.details),
            Some((half, _)) if half.has_started() => self.outcome = Some(Outcome::Reset),
            Some(_) => {
                self.outcome = Some(Outcome::Answered {
                    answerer: Answerer::Filter,
                    response: Message {
                        headers: response.headers,
                        pieces: self.for_client(response.pieces),
                        trailers: None,
                        complete: true,
                    },
                });
            }
        }
    }

    /// Starts the way back; a filter's own reply without details has empty ones.
    fn answer(&mut self, vm: &mut Vm, response: Response, details: &str) {
        let details = match &response.answerer {
            Answerer::Envoy(details) => details,
            Answerer::Upstream | Answerer::Filter => details,
        };
        let status = response.headers.text(":status").unwrap_or_default();
        let status = status.parse::<u64>().unwrap_or(0);
        let properties = &mut vm.view(self.id).properties;
        properties.insert("response.code".to_owned(), status.to_le_bytes().to_vec());
        properties.insert(
            "response.code_details".to_owned(),
            details.as_bytes().to_vec(),
        );
        let from_upstream = response.answerer == Answerer::Upstream;
        let pieces = self.for_client(response.pieces);
        let framing = if from_upstream {
            Protocol::Http1
        } else {
            Protocol::Http2
        };
        let trailers = self.for_client(response.trailers);
        let pieces = with_end(pieces, framing, trailers.is_some());
        let half = Half::new(Direction::Response, response.headers, pieces, trailers);
        self.response = Some((half, response.answerer));
    }

    /// The body or trailers of an answer: none for HEAD.
    fn for_client<T: Default>(&self, part: T) -> T {
        if self.is_head_request {
            T::default()
        } else {
            part
        }
    }

    fn answered(&self) -> Option<Outcome> {
        let (half, answerer) = self.response.as_ref()?;
        Some(Outcome::Answered {
            answerer: answerer.clone(),
            response: half.sent.clone(),
        })
    }

    fn client_leaves(&mut self, vm: &mut Vm) -> bool {
        let Some(callbacks) = &mut self.patience else {
            return false;
        };
        let leaves = *callbacks == 0;
        *callbacks = callbacks.saturating_sub(1);
        if leaves {
            let properties = &mut vm.view(self.id).properties;
            let flags = FLAG_CLIENT_LEFT.to_le_bytes().to_vec();
            properties.insert("response.flags".to_owned(), flags);
            let details = b"downstream_remote_disconnect".to_vec();
            properties.insert("response.code_details".to_owned(), details);
            self.outcome = Some(Outcome::Left);
        }
        leaves
    }

    /// Runs the last callbacks, in which the maps can be read again; a dead VM gets none.
    fn close(&mut self, vm: &mut Vm) {
        let view = vm.view(self.id);
        view.log_phase = true;
        let restore = |slot: &mut Option<Headers>, sent: &Message| {
            if slot.is_none() && !sent.headers.is_empty() {
                *slot = Some(sent.headers.clone());
            }
        };
        restore(&mut view.request.headers, &self.request.sent);
        if let Some((half, _)) = &self.response {
            restore(&mut view.response.headers, &half.sent);
        }
        self.properties = view.properties.clone();
        if !self.has_trapped()
            && let Err(trap) = vm.close_stream(self.id)
        {
            self.outcome = Some(Outcome::Trapped(trap));
        }
    }
}

/// Marks where a body ends: in its last piece, in a call of its own, or nowhere when trailers follow.
fn with_end(
    pieces: Vec<Vec<u8>>,
    protocol: Protocol,
    trailers_follow: bool,
) -> Vec<(Vec<u8>, bool)> {
    let mut pieces: Vec<_> = pieces.into_iter().map(|piece| (piece, false)).collect();
    match (pieces.last_mut(), protocol) {
        (None, _) => {}
        (Some(_), _) if trailers_follow => {}
        (Some((_, ends_here)), Protocol::Http2) => *ends_here = true,
        (Some(_), Protocol::Http1) => pieces.push((Vec::new(), true)),
    }
    pieces
}

/// The head that Envoy makes for a filter's reply.
fn local_response(reply: &LocalReply) -> Response {
    let mut response = Response::new(0);
    response.answerer = Answerer::Filter;
    response.headers.set(":status", reply.status.to_string());
    for (name, value) in reply.headers.iter() {
        response.headers.add(name, value);
    }
    if reply.body.is_empty() {
        return response;
    }
    let length = reply.body.len().to_string();
    response.headers.set("content-length", length);
    if response.headers.get("content-type").is_none() {
        response.headers.add("content-type", "text/plain");
    }
    response.body(&reply.body)
}

/// The attributes that a filter can ask for from the start.
fn properties(request: &Request) -> BTreeMap<String, Vec<u8>> {
    let fields = [
        ("request.path", ":path"),
        ("request.method", ":method"),
        ("request.host", ":authority"),
        ("request.id", "x-request-id"),
    ];
    let mut properties: BTreeMap<_, _> = fields
        .iter()
        .filter_map(|(property, field)| {
            let value = request.headers.get(field)?;
            Some(((*property).to_owned(), value.to_vec()))
        })
        .collect();
    let protocol: &[u8] = match request.protocol {
        Protocol::Http1 => b"HTTP/1.1",
        Protocol::Http2 => b"HTTP/2",
    };
    properties.insert("request.protocol".to_owned(), protocol.to_vec());
    properties.insert("source.address".to_owned(), b"192.0.2.7:40312".to_vec());
    properties.extend(request.properties.clone());
    properties
}
