//! A request through the filter, callback by callback, from the creation of its context to the deletion.
//! Follows the proxy-wasm ABI 0.2.1, section "Stream context"; local replies and their details are those of Envoy 1.40.

use std::collections::BTreeMap;

use super::exchange::{Exchange, Outcome};
use super::half_stream::{Flow, HalfStream};
use super::message::{Message, Protocol, Request, Responder, Response};
use crate::wasm_host::abi::Direction;
use crate::wasm_host::guest::CallbackUsage;
use crate::wasm_host::guest::{LocalReply, StreamView};
use crate::wasm_host::headers::Headers;
use crate::wasm_host::state::StreamRules;
use crate::wasm_host::vm::Vm;

/// Envoy's response flag `DC`, "downstream connection termination".
const FLAG_CLIENT_DISCONNECTED: u64 = 16384;

/// A stream that runs one callback at a time, so that several can share a VM.
#[derive(Debug)]
pub(in crate::wasm_host) struct Stream {
    id: u32,
    rules: StreamRules,
    request: HalfStream,
    response: Option<(HalfStream, Responder)>,
    is_head_request: bool,
    /// The number of callbacks before the client disconnects.
    callbacks_before_disconnect: Option<usize>,
    properties: BTreeMap<String, Vec<u8>>,
    usage: CallbackUsage,
    outcome: Option<Outcome>,
}

impl Stream {
    /// Creates a stream and its context.
    pub(in crate::wasm_host) fn open(vm: &mut Vm, request: Request, rules: StreamRules) -> Self {
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
            request: HalfStream::new(
                Direction::Request,
                request.headers,
                pieces,
                request.trailers,
            ),
            response: None,
            is_head_request,
            callbacks_before_disconnect: request.disconnects_after,
            properties,
            usage: vm.take_usage(),
            outcome: created.err().map(Outcome::Trapped),
        }
    }

    /// Runs one callback; returns whether the stream has ended.
    pub(in crate::wasm_host) fn step(
        &mut self,
        vm: &mut Vm,
        upstream: &mut dyn FnMut(&Message) -> Response,
    ) -> bool {
        if self.outcome.is_none() && !self.client_disconnects(vm) {
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

    /// Whether the VM trapped in this stream.
    pub(in crate::wasm_host) fn has_trapped(&self) -> bool {
        matches!(self.outcome, Some(Outcome::Trapped(_)))
    }

    /// Returns the result. A stream that has not ended was reset, because its VM trapped in another stream.
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
                self.start_response(vm, response, "via_upstream");
            }
            (Flow::Done, true) => self.outcome = self.responded(),
            (Flow::Replied(reply), _) => self.on_reply(vm, &reply),
            (Flow::TooLarge, false) => {
                let details = "request_payload_too_large";
                let response = Response::from_envoy(413, details, "Payload Too Large");
                self.start_response(vm, response.header("connection", "close"), details);
            }
            (Flow::TooLarge, true) => self.outcome = Some(Outcome::Reset),
            (Flow::Hung(callback), _) => self.outcome = Some(Outcome::Hung(callback)),
            (Flow::Trapped(trap), _) => self.outcome = Some(Outcome::Trapped(trap)),
        }
    }

    /// Sends a local reply. One to a request runs through the response callbacks; one to a response replaces it as it is.
    fn on_reply(&mut self, vm: &mut Vm, reply: &LocalReply) {
        let response = local_response(reply);
        match &self.response {
            None => self.start_response(vm, response, &reply.details),
            Some((half, _)) if half.has_started() => self.outcome = Some(Outcome::Reset),
            Some(_) => {
                self.outcome = Some(Outcome::Responded {
                    responder: Responder::Filter,
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

    /// Starts the response. A local reply of the filter without details has empty ones.
    fn start_response(&mut self, vm: &mut Vm, response: Response, details: &str) {
        let details = match &response.responder {
            Responder::Envoy(details) => details,
            Responder::Upstream | Responder::Filter => details,
        };
        let status: u64 = response
            .headers
            .text(":status")
            .and_then(|status| status.parse().ok())
            .unwrap_or(0);
        let properties = &mut vm.view(self.id).properties;
        properties.insert("response.code".to_owned(), status.to_le_bytes().to_vec());
        properties.insert(
            "response.code_details".to_owned(),
            details.as_bytes().to_vec(),
        );
        let from_upstream = response.responder == Responder::Upstream;
        let pieces = self.for_client(response.pieces);
        let framing = if from_upstream {
            Protocol::Http1
        } else {
            Protocol::Http2
        };
        let trailers = self.for_client(response.trailers);
        let pieces = with_end(pieces, framing, trailers.is_some());
        let half = HalfStream::new(Direction::Response, response.headers, pieces, trailers);
        self.response = Some((half, response.responder));
    }

    /// Returns the body or trailers of a response; empty for a HEAD request.
    fn for_client<T: Default>(&self, part: T) -> T {
        if self.is_head_request {
            T::default()
        } else {
            part
        }
    }

    fn responded(&self) -> Option<Outcome> {
        let (half, responder) = self.response.as_ref()?;
        Some(Outcome::Responded {
            responder: responder.clone(),
            response: half.sent.clone(),
        })
    }

    fn client_disconnects(&mut self, vm: &mut Vm) -> bool {
        let Some(callbacks) = &mut self.callbacks_before_disconnect else {
            return false;
        };
        let leaves = *callbacks == 0;
        *callbacks = callbacks.saturating_sub(1);
        if leaves {
            let properties = &mut vm.view(self.id).properties;
            let flags = FLAG_CLIENT_DISCONNECTED.to_le_bytes().to_vec();
            properties.insert("response.flags".to_owned(), flags);
            let details = b"downstream_remote_disconnect".to_vec();
            properties.insert("response.code_details".to_owned(), details);
            self.outcome = Some(Outcome::Disconnected);
        }
        leaves
    }

    /// Runs the last callbacks, in which the maps can be read again. A VM that trapped gets none.
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

/// Marks the end of a body: on its last chunk, on an empty one, or not at all if trailers follow.
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

/// Builds Envoy's response for a local reply of the filter.
fn local_response(reply: &LocalReply) -> Response {
    let mut response = Response::new(0);
    response.responder = Responder::Filter;
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

/// Returns the properties of a stream at its start.
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
