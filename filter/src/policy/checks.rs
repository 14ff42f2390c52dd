//! Which check runs when, and what becomes of the request.
//! The order is the contract's: internal fields go first, so that nothing after can read a forged one. A preflight
//! carries no credentials (Fetch standard), so it is answered before any are asked for. The route says whether a key
//! is needed, and the key says who is charged. The rate is charged before the body is looked at, so that the costly
//! part is limited too. The model comes last, for it needs the body.

use std::rc::Rc;
use std::time::SystemTime;

use crate::auth::Client;
use crate::body::Body;
use crate::config::{Auth, Config};
use crate::cors::{self, Cors};
use crate::head::RequestHead;
use crate::rejection::{Outcome, Refusal};
use crate::rate_limit::{Exhausted, Quota, SharedData, address_bucket, client_bucket};
use crate::reply::LocalReply;
use crate::route::{self, Route};

const REQUEST_ID: &str = "x-request-id";

/// The longest body that is taken in from somebody who is refused: most chats, and no more than Envoy's listener has
/// room for on any connection (`per_connection_buffer_limit_bytes`).
const MAX_DISCARDED_BYTES: u64 = 64 << 10;

/// What a decision may ask of the host.
pub trait Host: SharedData {
    /// The time of day; without it no key that ends is valid, and nobody whose rate is limited passes.
    fn now(&self) -> Option<SystemTime>;
    /// The address that Envoy believes the request to come from, with its port.
    fn client_address(&self) -> Option<Vec<u8>>;
    /// Whether the request came by HTTP/1, where it has the connection to itself.
    fn is_http1(&self) -> bool;
    /// An id that no other request has.
    fn fresh_request_id(&self) -> String;
}

/// What is to be done with a request, decided from its head.
#[derive(Debug)]
pub struct Decision<'a> {
    /// Names of request fields to take away, before any is set.
    pub remove: Vec<&'a str>,
    /// Who calls, if that is known.
    pub client: Option<Rc<Client>>,
    /// Whether the request needs to be told its id.
    pub is_id_fresh: bool,
    /// What the answer says, whoever gives it.
    pub answer: Answer,
    /// Whether a refusal is better given when the body has come. It is the same one, but Envoy closes an HTTP/1
    /// connection on which it is given earlier, and a client that is still writing may never see it.
    pub takes_body_first: bool,
    /// Where the request goes.
    pub verdict: Verdict,
}

impl Decision<'_> {
    /// Request fields to set: an id that is ours, and who calls.
    pub fn set(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let id = self
            .is_id_fresh
            .then_some((REQUEST_ID, self.answer.request_id.as_str()));
        let identity = self.client.iter().flat_map(|client| client.identity());
        id.into_iter().chain(identity)
    }
}

/// What the head of an answer says, whoever gives it.
#[derive(Debug)]
pub struct Answer {
    /// The request's id.
    pub request_id: String,
    /// Which page may read it.
    pub cors: Cors,
    /// What is left of the client's rate, where it was charged.
    pub quota: Option<Quota>,
    /// Whether Envoy makes a 200 with a `grpc-status` of every answer of our own.
    pub becomes_grpc: bool,
}

/// Where a request goes.
#[derive(Debug)]
pub enum Verdict {
    /// To the upstream, as far as the head is concerned; the body is watched.
    Forward(Body),
    /// Nowhere: this is the answer.
    Reply(LocalReply),
}

/// Decides on a request, as far as its head tells.
pub fn on_request_head<'a>(
    config: &Config,
    head: &RequestHead<'a>,
    host: &impl Host,
) -> Decision<'a> {
    let sane_id = head.request_id.value().and_then(sane_request_id);
    let mut decision = Decision {
        remove: head.internal.clone(),
        client: None,
        is_id_fresh: sane_id.is_none(),
        answer: Answer {
            request_id: sane_id.map_or_else(|| host.fresh_request_id(), str::to_owned),
            cors: config.cors.decide(head),
            quota: None,
            becomes_grpc: head.looks_like_grpc,
        },
        takes_body_first: false,
        verdict: Verdict::Forward(Body::flowing()),
    };
    decision
        .remove
        .extend((sane_id.is_none() && head.request_id.is_present()).then_some(REQUEST_ID));
    match check(config, head, host, &mut decision) {
        // No key leaves Envoy.
        Ok(()) => decision
            .remove
            .extend(head.authorization.is_present().then_some("authorization")),
        Err(reply) => {
            decision.takes_body_first = takes_body_first(config, head, host, &reply);
            decision.verdict = Verdict::Reply(reply);
        }
    }
    decision
}

/// The checks in their order; the first answer ends them.
fn check(
    config: &Config,
    head: &RequestHead,
    host: &impl Host,
    decision: &mut Decision,
) -> Result<(), LocalReply> {
    if head.method == b"OPTIONS" {
        return Err(answer_options(head, head.path, &decision.answer.cors));
    }
    let authorization = head.authorization.value().unwrap_or_default();
    decision.client = config.keyring.client(authorization, || host.now());
    let route = Route::of(head.method, head.path);
    if route == Route::Verify {
        return Err(verify(config, head, host, decision));
    }
    if decision.client.is_none() && needs_key(config, route) {
        return Err(refuse_stranger(config, host));
    }
    if route == Route::Generate {
        charge(config, host, decision)?;
    }
    if declared_length(head).is_some_and(|length| length > config.max_body_bytes) {
        return Err(LocalReply::body_too_large(config.max_body_bytes));
    }
    if route == Route::Generate {
        decision.verdict = Verdict::Forward(Body::gated(decision.client.clone()));
    }
    Ok(())
}

/// Any `OPTIONS` is answered here: what the path takes, and what a preflight asks.
fn answer_options(head: &RequestHead, target: &[u8], cors: &Cors) -> LocalReply {
    let mut reply = LocalReply::no_content(Outcome::Options)
        .with("allow", route::allowed_methods(target).to_owned());
    if cors::is_preflight(head) {
        reply.fields.extend(cors.preflight(head));
    }
    reply
}

fn needs_key(config: &Config, route: Route) -> bool {
    config.auth == Auth::Keys
        && match route {
            Route::Open => false,
            Route::Models => config.protect_models,
            Route::Generate | Route::Verify | Route::Guarded => true,
        }
}

/// Answers a proxy that asks about somebody else's request: yes, no, or what a preflight wants to hear.
fn verify(
    config: &Config,
    head: &RequestHead,
    host: &impl Host,
    decision: &Decision,
) -> LocalReply {
    let (method, target) = match verified_request(head) {
        Ok(request) => request,
        Err(reply) => return reply,
    };
    if method == b"OPTIONS" {
        return answer_options(head, target, &decision.answer.cors);
    }
    let reply = LocalReply::ok(Outcome::Verified, r#"{"ok":true}"#);
    match &decision.client {
        Some(client) => reply.with("x-codex-edge-client", client.id.clone()),
        None if needs_key(config, Route::of(method, target)) => refuse_stranger(config, host),
        None => reply,
    }
}

/// The request that `/verify` is about: what `x-forwarded-*` say, what follows in the path, else `/verify` itself.
/// A field that came twice, or one without the other, names no open route, and so needs a key.
fn verified_request<'a>(head: &RequestHead<'a>) -> Result<(&'a [u8], &'a [u8]), LocalReply> {
    if let Some(target) = route::verified_path(head.path) {
        return Ok((head.method, target));
    }
    if !matches!(head.method, b"GET" | b"HEAD") {
        return Err(LocalReply::method_not_allowed(route::allowed_methods(
            head.path,
        )));
    }
    if head.forwarded_method.is_present() || head.forwarded_uri.is_present() {
        let method = head.forwarded_method.value().unwrap_or_default();
        return Ok((method, head.forwarded_uri.value().unwrap_or_default()));
    }
    Ok((head.method, head.path))
}

/// Says no to a caller without a valid key; too often from one address, and the no becomes a wait.
fn refuse_stranger(config: &Config, host: &impl Host) -> LocalReply {
    let Some(limit) = config.stranger_limit else {
        return LocalReply::invalid_api_key();
    };
    match host
        .now()
        .map(|now| limit.charge(host, &stranger_bucket(host), now))
    {
        Some(Ok(_)) => LocalReply::invalid_api_key(),
        Some(Err(Exhausted { retry_after, .. })) => {
            LocalReply::rate_limited(Refusal::StrangerRateLimited, retry_after)
        }
        None => LocalReply::host_failure(),
    }
}

/// Takes a token from the client's bucket, or from that of its address where nobody needs a key.
fn charge(config: &Config, host: &impl Host, decision: &mut Decision) -> Result<(), LocalReply> {
    let client = decision.client.as_deref();
    let Some(limit) = client.map_or(config.limit, |client| client.limit) else {
        return Ok(());
    };
    let bucket = client.map_or_else(|| stranger_bucket(host), |client| client_bucket(&client.id));
    let now = host.now().ok_or_else(LocalReply::host_failure)?;
    let outcome = limit.charge(host, &bucket, now);
    decision.answer.quota = Some(outcome.unwrap_or_else(|exhausted| exhausted.quota));
    match outcome {
        Ok(_) => Ok(()),
        Err(exhausted) => Err(LocalReply::rate_limited(
            Refusal::RateLimited,
            exhausted.retry_after,
        )),
    }
}

fn stranger_bucket(host: &impl Host) -> String {
    address_bucket(&host.client_address().unwrap_or_default())
}

/// The length that the client declared. Envoy has refused what is no number.
fn declared_length(head: &RequestHead) -> Option<u64> {
    std::str::from_utf8(head.content_length.value()?)
        .ok()?
        .parse()
        .ok()
}

/// Whether a short body was declared, where one belongs: a proxy that asks `/verify` may declare the one that it keeps
/// to itself. Nothing is held for strangers beyond their rate, and nothing where a connection stays open anyway.
fn takes_body_first(
    config: &Config,
    head: &RequestHead,
    host: &impl Host,
    reply: &LocalReply,
) -> bool {
    let longest = MAX_DISCARDED_BYTES.min(config.max_body_bytes);
    config.hold_headers
        && Route::of(head.method, head.path) == Route::Generate
        && reply.outcome != Outcome::Refused(Refusal::StrangerRateLimited)
        && declared_length(head).is_some_and(|length| (1..=longest).contains(&length))
        && host.is_http1()
}

/// An id that can stand in every log and field as it is.
fn sane_request_id(id: &[u8]) -> Option<&str> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    let is_sane = (1..=128).contains(&id.len()) && id.iter().all(is_plain);
    std::str::from_utf8(id).ok().filter(|_| is_sane)
}
