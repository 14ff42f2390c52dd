//! The host as the policy sees it: clock, client address, HTTP version, request ids.

use std::time::SystemTime;

use crate::rate_limit::SharedData;

/// The host, as the policy needs it.
pub trait PolicyHost: SharedData {
    /// The current time. Without it, a key with `expires_at` is invalid, and a request that must be charged is rejected.
    fn now(&self) -> Option<SystemTime>;
    /// The client address that Envoy determined, with its port.
    fn client_address(&self) -> Option<Vec<u8>>;
    /// Whether the request came over HTTP/1, where it has the connection to itself.
    fn is_http1(&self) -> bool;
    /// A new unique request id.
    fn fresh_request_id(&self) -> String;
}
