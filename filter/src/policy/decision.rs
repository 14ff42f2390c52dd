//! The types of a decision.

use std::borrow::Cow;
use std::rc::Rc;

use super::request_id::RequestId;
use crate::auth::Client;
use crate::body::Body;
use crate::cors::Cors;
use crate::header_mutation::HeaderMutation;
use crate::in_flight::InFlight;
use crate::rate_limit::Quota;
use crate::reply::LocalReply;
use crate::route::Dialect;

/// The decision on a request, from its head.
#[derive(Debug)]
pub struct Decision<'a> {
    /// Names of request headers to remove.
    pub remove: Vec<&'a str>,
    /// The authenticated client.
    pub client: Option<Rc<Client>>,
    /// The headers of the response, from the upstream or from the filter.
    pub response: ResponseHeaders,
    /// The place of a forwarded request among those in flight, if it needs one.
    pub in_flight: Option<InFlight>,
    /// The result of the checks.
    pub verdict: Verdict,
}

impl Decision<'_> {
    /// The changes to the request headers. Every removal comes before the first addition, so that no header of the
    /// client stays beside one of the filter.
    pub fn request_mutations(&self) -> impl Iterator<Item = HeaderMutation<'_>> {
        let removed = self.remove.iter().copied().map(HeaderMutation::Remove);
        let added = self
            .added_headers()
            .map(|(name, value)| HeaderMutation::append(name, value));
        removed.chain(added)
    }

    /// The request headers to add: a generated request id and the identity of the client.
    pub fn added_headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let identity = self.client.iter().flat_map(|client| client.identity());
        let request_id = self.response.request_id.generated();
        request_id
            .map(|id| (RequestId::HEADER, id))
            .into_iter()
            .chain(identity)
    }
}

/// The headers that the filter adds to the response, from the upstream or from the filter.
#[derive(Debug)]
pub struct ResponseHeaders {
    /// The id of the request, for the filter's own responses.
    pub request_id: RequestId,
    /// The CORS headers.
    pub cors: Cors,
    /// The rate limit headers, if the request was charged.
    pub quota: Option<Quota>,
    /// The encoding of the filter's own responses.
    pub encoding: ReplyEncoding,
    /// The API of the client, for the shape of the filter's own responses.
    pub dialect: Dialect,
}

/// The form in which Envoy sends a local reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyEncoding {
    /// As it is.
    Http,
    /// As a 200 without body and with a `grpc-status`, because the request looks like gRPC.
    Grpc,
}

impl ResponseHeaders {
    /// The changes to the response headers; `local_status` is the status of the filter's own response, if it is one.
    pub fn mutations(&self, local_status: Option<u16>) -> impl Iterator<Item = HeaderMutation<'_>> {
        let quota = self
            .quota
            .iter()
            .flat_map(Quota::headers)
            .map(|(name, value)| HeaderMutation::Set(name, Cow::Owned(value)));
        let grpc_status = local_status.filter(|_| self.encoding == ReplyEncoding::Grpc);
        let restored = grpc_status.into_iter().flat_map(restore_status);
        self.cors.mutations().chain(quota).chain(restored)
    }
}

/// Undoes Envoy's gRPC encoding of a local reply: to a proxy that asks `/verify`, its 200 would admit the request.
fn restore_status<'a>(status: u16) -> [HeaderMutation<'a>; 4] {
    [
        HeaderMutation::Set(":status", Cow::Owned(status.to_string())),
        HeaderMutation::Remove("grpc-status"),
        HeaderMutation::Remove("grpc-message"),
        HeaderMutation::Remove("content-type"),
    ]
}

/// The result of the checks on a head.
#[derive(Debug)]
pub enum Verdict {
    /// Forward the request to the upstream. The body may still be rejected.
    Forward(Body),
    /// Send this response at once.
    Reply(LocalReply),
    /// Send this response after the end of the body. Envoy closes an HTTP/1 connection when it replies early,
    /// and a client that is still uploading may miss the response.
    ReplyAfterBody(LocalReply),
}
