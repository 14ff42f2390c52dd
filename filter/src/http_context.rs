//! An HTTP stream: asks the policy, applies its decision, gates the body, and changes the response headers.
//! `HttpContext` of the proxy-wasm Rust SDK, ABI 0.2.1; the order of the callbacks is that of Envoy 1.40.

use std::rc::Rc;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, MapType};

use crate::auth::Client;
use crate::body::{Body, BodyAction};
use crate::budget;
use crate::config::Config;
use crate::head::RequestHead;
use crate::host::{self, Counters, ProxyWasmHost};
use crate::in_flight::InFlight;
use crate::metrics::RequestOutcome;
use crate::policy::{self, ReplyEncoding, ResponseHeaders, Verdict};
use crate::reply::LocalReply;

/// The filter state with the reason of a rejection, for the access log: `%FILTER_STATE(wasm.codex_edge.reason:PLAIN)%`.
const REASON: &str = "codex_edge.reason";

/// The state that all streams of a root context share.
#[derive(Debug)]
pub(crate) struct Plugin {
    pub(crate) config: Config,
    pub(crate) counters: Counters,
}

/// A request and its response.
#[derive(Debug)]
pub(crate) struct HttpStream {
    plugin: Rc<Plugin>,
    /// The state of the request body. While it is absent (before the decision, after a reply), no byte is forwarded.
    body: Option<Body>,
    /// The place among the requests in flight, until the stream has ended or the filter has replied.
    in_flight: Option<InFlight>,
    /// Absent until the head was decided on.
    response: Option<ResponseHeaders>,
    local_reply: LocalReplyState,
    /// The client, if it has a budget: the upstream may report it as spent.
    budgeted: Option<Rc<Client>>,
}

/// The state of the filter's own response.
#[derive(Clone, Copy, Debug)]
enum LocalReplyState {
    /// Not decided; the upstream may respond.
    None,
    /// It was counted and waits for the end of the request body.
    Recorded,
    /// It was handed to Envoy with this status.
    Sent(u16),
}

impl HttpStream {
    /// A stream before its head.
    pub(crate) fn new(plugin: Rc<Plugin>) -> Self {
        Self {
            plugin,
            body: None,
            in_flight: None,
            response: None,
            local_reply: LocalReplyState::None,
            budgeted: None,
        }
    }
}

impl Context for HttpStream {}

impl HttpContext for HttpStream {
    fn on_http_request_headers(&mut self, _: usize, end_of_stream: bool) -> Action {
        // Bytes, not strings: the string getters panic on a value that is not UTF-8. Envoy never shows an empty map.
        let headers = hostcalls::get_map_bytes(MapType::HttpRequestHeaders).unwrap_or_default();
        if headers.is_empty() {
            return self.reply(&LocalReply::host_failure());
        }
        let plugin = Rc::clone(&self.plugin);
        let head = RequestHead::new(&headers);
        let decision = policy::on_request_head(&plugin.config, &head, &ProxyWasmHost);
        let applied = host::apply(MapType::HttpRequestHeaders, decision.request_mutations());
        self.response = Some(decision.response);
        self.in_flight = decision.in_flight;
        self.budgeted = decision.client.filter(|client| client.budget.is_some());
        match decision.verdict {
            // An internal header that the client sent and that could not be removed would forge an identity.
            _ if applied.is_err() => self.reply(&LocalReply::host_failure()),
            Verdict::Forward(body) => self.forward(&plugin.config, body, end_of_stream),
            Verdict::ReplyAfterBody(reply) if !end_of_stream => {
                // Recorded now: a client that disconnects during its upload was rejected too.
                self.record(reply.outcome);
                self.body = Some(Body::Draining(reply));
                Action::Pause
            }
            Verdict::ReplyAfterBody(reply) | Verdict::Reply(reply) => self.reply(&reply),
        }
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        let Some(body) = &mut self.body else {
            return Action::Pause;
        };
        if let (true, Some(in_flight)) = (body.is_held(), &mut self.in_flight)
            && let Err(reason) = in_flight.hold_at_least(size as u64)
        {
            return self.reply(&LocalReply::in_flight_exceeded(reason));
        }
        let config = &self.plugin.config;
        let mut action = body.on_data(config, size, host::request_body);
        if end_of_stream && action == BodyAction::Buffer {
            action = body.on_end(config, host::request_body);
        }
        if let (BodyAction::Release(_), Some(in_flight)) = (&action, &mut self.in_flight) {
            // What comes after this is streamed; what is released now, the upstream has yet to read.
            let _ = in_flight.hold(size as u64); // Not more than before.
        }
        self.apply_to_body(action)
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        // A body that is followed by trailers has no callback with `end_of_stream`.
        let Some(body) = &mut self.body else {
            return Action::Pause;
        };
        let action = body.on_end(&self.plugin.config, host::request_body);
        self.apply_to_body(action)
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        if let Some(in_flight) = &mut self.in_flight {
            let _ = in_flight.hold(0); // The upstream has read the body; shrinking never fails.
        }
        if self.budgeted.is_some() && matches!(self.local_reply, LocalReplyState::None) {
            self.read_spent(MapType::HttpResponseHeaders);
            // It names a trailer that the client does not get.
            let _ = host::take(MapType::HttpResponseHeaders, "trailer");
        }
        let Some(response) = &self.response else {
            return Action::Continue;
        };
        let local_status = match self.local_reply {
            LocalReplyState::Sent(status) => Some(status),
            LocalReplyState::None | LocalReplyState::Recorded => None,
        };
        let applied = host::apply(
            MapType::HttpResponseHeaders,
            response.mutations(local_status),
        );
        match (applied, local_status, response.encoding) {
            (Ok(()), _, _) => Action::Continue,
            (Err(_), None, _) => self.reply(&LocalReply::host_failure()),
            // Sent without CORS headers: a page cannot read the response, and its status still rejects.
            (Err(_), Some(_), ReplyEncoding::Http) => Action::Continue,
            // Envoy may already have turned this rejection into a gRPC 200, so hold it.
            (Err(_), Some(_), ReplyEncoding::Grpc) => Action::Pause,
        }
    }

    fn on_http_response_trailers(&mut self, _: usize) -> Action {
        self.read_spent(MapType::HttpResponseTrailers);
        Action::Continue
    }
}

impl HttpStream {
    /// Remembers that the client's budget is spent, if the upstream says so.
    fn read_spent(&self, map: MapType) {
        if let Some(client) = &self.budgeted
            && let Some(end) = host::take(map, budget::SPENT_HEADER)
        {
            let fingerprint = self.plugin.config.fingerprint;
            budget::store_spent(&ProxyWasmHost, &client.id, &end, fingerprint);
        }
    }

    /// Forwards the head, or holds it until the model in the body is known, if the plugin may hold it.
    fn forward(&mut self, config: &Config, mut body: Body, end_of_stream: bool) -> Action {
        let action = match body {
            // Not `Continue`, which does not count the request as forwarded.
            Body::Passthrough { .. } => BodyAction::Release(0),
            _ if end_of_stream => body.on_end(config, host::request_body),
            _ if config.hold_headers => BodyAction::Buffer,
            _ => BodyAction::Continue,
        };
        self.body = Some(body);
        self.apply_to_body(action)
    }

    fn apply_to_body(&mut self, action: BodyAction) -> Action {
        match action {
            BodyAction::Continue => Action::Continue,
            BodyAction::Buffer => Action::Pause,
            BodyAction::Release(scanned_bytes) => {
                self.plugin.counters.count_forwarded(scanned_bytes);
                Action::Continue
            }
            BodyAction::Reject(reply) => self.reply(&reply),
        }
    }

    /// Sends the filter's own response; from here on no part of the request is forwarded.
    fn reply(&mut self, reply: &LocalReply) -> Action {
        self.body = None;
        self.in_flight = None;
        // Before `Sent`: in that state `record` counts nothing.
        self.record(reply.outcome);
        let shaped = self
            .response
            .as_ref()
            .map(|response| reply.in_dialect(response.dialect, response.request_id.as_str()));
        let reply = shaped.as_ref().unwrap_or(reply);
        self.local_reply = LocalReplyState::Sent(reply.status);
        // CORS and rate limit headers are set with the response headers; in the reply's own list they cost more.
        let request_id = self
            .response
            .iter()
            .map(|response| ("x-request-id", response.request_id.as_str()));
        let headers = reply
            .headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()));
        let _ = hostcalls::send_http_response(
            u32::from(reply.status),
            headers.chain(request_id).collect(),
            reply.body.as_deref().map(str::as_bytes),
        ); // The request stays paused when Envoy does not take the reply.
        Action::Pause
    }

    /// Counts the filter's own response and stores its reason for the access log, once per stream.
    fn record(&mut self, outcome: RequestOutcome) {
        let LocalReplyState::None = self.local_reply else {
            return;
        };
        self.local_reply = LocalReplyState::Recorded;
        self.plugin.counters.count(outcome);
        if let RequestOutcome::Rejected(reason) = outcome {
            let _ = hostcalls::set_property(vec![REASON], Some(reason.name().as_bytes())); // Only the log lacks it.
        }
    }
}
