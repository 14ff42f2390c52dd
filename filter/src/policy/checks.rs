//! The checks in their order, and the decision that follows from them.

use std::rc::Rc;

use super::access::{needs_key, reject_unauthenticated, unauthenticated_bucket};
use super::options::options_reply;
use super::verify::{verified_request, verify};
use super::{Decision, PolicyHost, ReplyEncoding, RequestId, ResponseHeaders, Verdict};
use crate::auth::{Client, Credential};
use crate::body::Body;
use crate::budget;
use crate::config::{Auth, Config};
use crate::cors::Cors;
use crate::head::RequestHead;
use crate::in_flight::InFlight;
use crate::metrics::RequestOutcome;
use crate::rate_limit::{Quota, client_bucket};
use crate::reply::LocalReply;
use crate::reply::RejectReason;
use crate::route::{Dialect, Route};

/// The longest body that is read before a rejection: most chats, and no more than Envoy's listener buffers for any
/// connection (`per_connection_buffer_limit_bytes`).
const MAX_DRAINED_BYTES: u64 = 64 << 10;

/// A request that passed the checks on its head.
struct Admitted {
    body: Body,
    /// Present on the routes that are counted.
    in_flight: Option<InFlight>,
    /// Present if the request was charged.
    quota: Option<Quota>,
}

/// A request that the filter answers itself: a rejection, or the response to `OPTIONS` or `/verify`.
struct Answered {
    reply: LocalReply,
    /// Present if the request was charged.
    quota: Option<Quota>,
}

impl From<LocalReply> for Answered {
    fn from(reply: LocalReply) -> Self {
        Self { reply, quota: None }
    }
}

/// Decides on a request from its head.
pub fn on_request_head<'a>(
    config: &Config,
    head: &RequestHead<'a>,
    host: &impl PolicyHost,
) -> Decision<'a> {
    let cors = config.cors.decide(head);
    let dialect = dialect(head);
    let credential = Credential::of(dialect, head.authorization, head.api_key);
    let client = authenticate(config, head, host, credential);
    let checked = match conflict(config, head, host, credential) {
        Some(reply) => Err(reply.into()),
        None => check(config, head, host, client.as_ref(), &cors),
    };
    let (quota, in_flight, verdict) = match checked {
        Ok(Admitted {
            body,
            in_flight,
            quota,
        }) => (quota, in_flight, Verdict::Forward(body)),
        Err(Answered { reply, quota }) if drain_body_first(config, head, host, &reply) => {
            (quota, None, Verdict::ReplyAfterBody(reply))
        }
        Err(Answered { reply, quota }) => (quota, None, Verdict::Reply(reply)),
    };
    let request_id = RequestId::of(head, host);
    Decision {
        remove: removed_headers(head, &request_id, &verdict),
        client,
        response: ResponseHeaders {
            request_id,
            cors,
            quota,
            encoding: if head.looks_like_grpc {
                ReplyEncoding::Grpc
            } else {
                ReplyEncoding::Http
            },
            dialect,
        },
        in_flight,
        verdict,
    }
}

/// Returns the dialect of a request; for `/verify`, that of the request which the proxy asks about.
fn dialect(head: &RequestHead) -> Dialect {
    let target = match Route::of(head.method, head.path) {
        Route::Verify => verified_request(head).map_or(head.path, |(_, target)| target),
        _ => head.path,
    };
    Dialect::of(target, head.has_anthropic_version)
}

/// Returns the client of the API key in the request. `OPTIONS` needs no key, so it is not looked up.
fn authenticate(
    config: &Config,
    head: &RequestHead,
    host: &impl PolicyHost,
    credential: Credential,
) -> Option<Rc<Client>> {
    let Credential::Key(key) = credential else {
        return None;
    };
    (head.method != b"OPTIONS")
        .then(|| config.keyring.client(key, || host.now()))
        .flatten()
}

/// Returns the rejection of a request with two different keys, on routes that read one. It counts as unauthenticated.
fn conflict(
    config: &Config,
    head: &RequestHead,
    host: &impl PolicyHost,
    credential: Credential,
) -> Option<LocalReply> {
    let is_conflict = credential == Credential::Conflicting && config.auth == Auth::Keys;
    let is_open = head.method == b"OPTIONS" || Route::of(head.method, head.path) == Route::Open;
    (is_conflict && !is_open).then(|| match reject_unauthenticated(config, host) {
        reply if reply.status == 401 => LocalReply::conflicting_credentials(),
        reply => reply,
    })
}

/// Runs the checks in their order; the first one that fails ends them.
fn check(
    config: &Config,
    head: &RequestHead,
    host: &impl PolicyHost,
    client: Option<&Rc<Client>>,
    cors: &Cors,
) -> Result<Admitted, Answered> {
    // First: no check below may hold for another host than the one that a server behind Envoy reads.
    if head.has_repeated_host {
        return Err(LocalReply::repeated_host().into());
    }
    if head.method == b"OPTIONS" {
        return Err(options_reply(head, head.path, cors).into());
    }
    let route = Route::of(head.method, head.path);
    if route == Route::Verify {
        return Err(verify(config, head, host, client.map(Rc::as_ref), cors).into());
    }
    if client.is_none() && needs_key(config, route) {
        return Err(reject_unauthenticated(config, host).into());
    }
    if client.is_none() && is_foreign_page(head, route, cors) {
        return Err(LocalReply::origin_not_allowed().into());
    }
    // Charged before the length is checked: an oversized request counts against the rate of its client.
    let quota = match route {
        Route::Generate | Route::Usage => charge(config, host, client.map(Rc::as_ref))?,
        Route::Open | Route::Models | Route::Verify | Route::Guarded => None,
    };
    if let (Route::Generate, Some(reply)) = (route, check_budget(config, host, client)) {
        return Err(Answered { reply, quota });
    }
    if declared_length(head).is_some_and(|length| length > config.max_body_bytes) {
        let reply = LocalReply::body_too_large(config.max_body_bytes);
        return Err(Answered { reply, quota });
    }
    let body = match route {
        Route::Generate if head.has_encoded_body() => encoded_body(config, client.map(Rc::as_ref))
            .map_err(|reply| Answered { reply, quota })?,
        Route::Generate => Body::gated(client.cloned()),
        Route::Open | Route::Models | Route::Usage | Route::Verify | Route::Guarded => {
            Body::passthrough()
        }
    };
    let declared = declared_length(head).filter(|_| matches!(body, Body::Gated(_)));
    let in_flight = match route {
        Route::Generate | Route::Usage | Route::Guarded => {
            let admitted = admit(config, client, declared);
            Some(admitted.map_err(|reply| Answered { reply, quota })?)
        }
        Route::Open | Route::Models | Route::Verify => None,
    };
    Ok(Admitted {
        body,
        in_flight,
        quota,
    })
}

/// Counts the request among those of its client, with the bytes that Envoy will hold while the filter reads the model.
fn admit(
    config: &Config,
    client: Option<&Rc<Client>>,
    held_bytes: Option<u64>,
) -> Result<InFlight, LocalReply> {
    let usage = client.map(|client| &client.in_flight);
    config
        .in_flight
        .admit(usage)
        .and_then(|mut in_flight| {
            in_flight.hold(held_bytes.unwrap_or_default())?;
            Ok(in_flight)
        })
        .map_err(LocalReply::in_flight_exceeded)
}

/// Whether a page that may not read the response sends the request: a browser sends a form or a text without asking
/// first, and the turn would run. Routes that need a key elsewhere only: a page with a key is a client like any other.
fn is_foreign_page(head: &RequestHead, route: Route, cors: &Cors) -> bool {
    let costs = matches!(route, Route::Generate | Route::Usage | Route::Guarded);
    costs && head.origin.is_present() && *cors == Cors::Disallowed
}

/// Returns a compressed body, which the filter cannot read: the upstream decodes and checks it.
///
/// Rejected where the configuration or the client's key restricts the models: a restriction is enforced here, or not at
/// all. A decoder would cost each VM its memory and Envoy's worker thread the time.
fn encoded_body(config: &Config, client: Option<&Client>) -> Result<Body, LocalReply> {
    let is_restricted =
        config.catalogue.models.is_some() || client.is_some_and(|client| client.models.is_some());
    if is_restricted {
        Err(LocalReply::encoded_body())
    } else {
        Ok(Body::passthrough())
    }
}

/// Rejects a client with a budget that the upstream has reported as spent.
fn check_budget(
    config: &Config,
    host: &impl PolicyHost,
    client: Option<&Rc<Client>>,
) -> Option<LocalReply> {
    let client = client.filter(|client| client.budget.is_some())?;
    let wait = budget::wait(host, &client.id, config.fingerprint, || host.now())?;
    Some(LocalReply::budget_spent(wait))
}

/// Takes a token from the bucket of the client, or of the address with `auth: none`, which has no client.
fn charge(
    config: &Config,
    host: &impl PolicyHost,
    client: Option<&Client>,
) -> Result<Option<Quota>, Answered> {
    let Some(limit) = client.map_or(config.limit, |client| client.limit) else {
        return Ok(None);
    };
    let bucket = client.map_or_else(
        || unauthenticated_bucket(host),
        |client| client_bucket(&client.id),
    );
    let now = host.now().ok_or_else(LocalReply::host_failure)?;
    match limit.charge(host, &bucket, now) {
        Ok(quota) => Ok(Some(quota)),
        Err(exhausted) => Err(Answered {
            reply: LocalReply::rate_limited(RejectReason::RateLimited, exhausted.retry_after),
            quota: Some(exhausted.quota),
        }),
    }
}

/// The names of the headers that the upstream must not see from the client.
fn removed_headers<'a>(
    head: &RequestHead<'a>,
    request_id: &RequestId,
    verdict: &Verdict,
) -> Vec<&'a str> {
    let mut removed = head.internal.clone();
    if request_id.generated().is_some() && head.request_id.is_present() {
        removed.push(RequestId::HEADER);
    }
    // No API key leaves Envoy. A rejected request is not forwarded, so the host call is saved for it.
    if matches!(verdict, Verdict::Forward(_)) {
        let credentials = [
            ("authorization", head.authorization),
            ("x-api-key", head.api_key),
        ];
        let present = credentials
            .into_iter()
            .filter(|(_, value)| value.is_present());
        removed.extend(present.map(|(name, _)| name));
    }
    removed
}

/// The declared length of the body. Envoy rejects a malformed `content-length` before the filter runs.
fn declared_length(head: &RequestHead) -> Option<u64> {
    std::str::from_utf8(head.content_length.value()?)
        .ok()?
        .parse()
        .ok()
}

/// Whether to read the body before rejecting ([`Verdict::ReplyAfterBody`]): only a short declared body, over HTTP/1, on
/// a generating route.
///
/// A proxy that asks `/verify` may declare the body of the original request and not send it.
fn drain_body_first(
    config: &Config,
    head: &RequestHead,
    host: &impl PolicyHost,
    reply: &LocalReply,
) -> bool {
    let longest = MAX_DRAINED_BYTES.min(config.max_body_bytes);
    config.hold_headers
        && Route::of(head.method, head.path) == Route::Generate
        && !limits_memory(reply.outcome)
        && declared_length(head).is_some_and(|length| (1..=longest).contains(&length))
        && host.is_http1()
}

/// Whether the rejection exists to bound the memory of Envoy: an address beyond `unauthenticated_rate_limit`, or a client
/// beyond a limit of requests in flight. No body is buffered for these.
fn limits_memory(outcome: RequestOutcome) -> bool {
    matches!(
        outcome,
        RequestOutcome::Rejected(
            RejectReason::UnauthenticatedRateLimited
                | RejectReason::ClientRequestsExceeded
                | RejectReason::ClientMemoryExceeded
                | RejectReason::MemoryExceeded
        )
    )
}
