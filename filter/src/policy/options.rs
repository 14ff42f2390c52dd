//! Responses to `OPTIONS`: the methods of the path, and the CORS preflight.

use crate::cors::{self, Cors};
use crate::head::RequestHead;
use crate::metrics::RequestOutcome;
use crate::reply::LocalReply;
use crate::route;

/// Answers any `OPTIONS`, with the preflight headers if the request is a preflight.
pub(super) fn options_reply(head: &RequestHead, target: &[u8], cors: &Cors) -> LocalReply {
    let mut reply = LocalReply::no_content(RequestOutcome::Options)
        .with("allow", route::allowed_methods(target).to_owned());
    if cors::is_preflight(head) {
        reply.headers.extend(cors.preflight(head));
    }
    reply
}
