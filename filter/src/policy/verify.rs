//! `/verify`, the forward-auth endpoint: answers a proxy that asks about a request which it received itself.
//! Follows Traefik's `ForwardAuth`, nginx's `auth_request` and Envoy's `ext_authz` over HTTP.

use super::PolicyHost;
use super::access::{needs_key, reject_unauthenticated};
use super::options::options_reply;
use crate::auth::Client;
use crate::config::Config;
use crate::cors::Cors;
use crate::head::RequestHead;
use crate::metrics::RequestOutcome;
use crate::reply::LocalReply;
use crate::route::{self, Route};

/// Responds to `/verify`: 200, a rejection, or the preflight response for an `OPTIONS` request of the proxy's client.
pub(super) fn verify(
    config: &Config,
    head: &RequestHead,
    host: &impl PolicyHost,
    client: Option<&Client>,
    cors: &Cors,
) -> LocalReply {
    let (method, target) = match verified_request(head) {
        Ok(request) => request,
        Err(reply) => return reply,
    };
    if method == b"OPTIONS" {
        return options_reply(head, target, cors);
    }
    let reply = LocalReply::ok(RequestOutcome::Verified, r#"{"ok":true}"#);
    match client {
        Some(client) => reply.with("x-codex-edge-client", client.id.clone()),
        None if needs_key(config, Route::of(method, target)) => {
            reject_unauthenticated(config, host)
        }
        None => reply,
    }
}

/// Returns method and target of the request that `/verify` is about: the path after `/verify`, else the
/// `x-forwarded-*` headers, else `/verify` itself.
///
/// A repeated `x-forwarded-*` header, or one without the other, yields an empty method or target, which needs a key.
pub(super) fn verified_request<'a>(
    head: &RequestHead<'a>,
) -> Result<(&'a [u8], &'a [u8]), LocalReply> {
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
