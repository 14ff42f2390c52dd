//! The order of the checks, and the decision on a request.
//!
//! 1. `OPTIONS`: a preflight carries no credentials (Fetch standard), so the filter answers it before the key check.
//! 2. `/verify`: the request that the proxy asks about decides whether a key is needed.
//! 3. Key: the route decides whether a key is needed, and the key decides which bucket is charged.
//! 4. Rate, then budget and declared length: a request that ends at one of these counts against the rate.
//! 5. Requests in flight and held bytes: a request that ends here counts against the rate, too.
//! 6. Model: last, since it needs the body.
//!
//! No check reads an internal header of the client (`RequestHead::internal`); all of them are removed after the checks.

mod access;
mod checks;
mod decision;
mod options;
mod policy_host;
mod request_id;
#[cfg(test)]
mod tests;
mod verify;

pub use checks::on_request_head;
pub use decision::{Decision, ReplyEncoding, ResponseHeaders, Verdict};
pub use policy_host::PolicyHost;
pub use request_id::RequestId;
