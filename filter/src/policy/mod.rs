//! The order of the checks, and the decision on a request.
//!
//! 1. Internal headers are removed first, so that no later step reads a forged one.
//! 2. A preflight carries no credentials (Fetch standard), so it gets its response before any are required.
//! 3. The route decides whether an API key is needed, and the key decides which bucket is charged.
//! 4. The rate is charged before the body is looked at, so that the expensive part is limited too.
//! 5. The model comes last, since it needs the body.

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
