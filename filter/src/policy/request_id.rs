//! The id of a request, for logs and for the upstream.

use super::policy_host::PolicyHost;
use crate::head::RequestHead;

/// The longest request id of a client that is kept.
const MAX_BYTES: usize = 128;

/// The id of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestId {
    /// The id that the client or Envoy sent.
    Received(String),
    /// A new id, because the request has none that is safe in logs and headers.
    Generated(String),
}

impl RequestId {
    /// The header with the id, in requests and in responses.
    pub const HEADER: &'static str = "x-request-id";

    /// Takes the id of the request if it is valid, and generates one otherwise.
    pub(super) fn of(head: &RequestHead, host: &impl PolicyHost) -> Self {
        match head.request_id.value().and_then(valid_id) {
            Some(id) => Self::Received(id.to_owned()),
            None => Self::Generated(host.fresh_request_id()),
        }
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Received(id) | Self::Generated(id) => id,
        }
    }

    /// The id, if it is a new one.
    pub fn generated(&self) -> Option<&str> {
        match self {
            Self::Generated(id) => Some(id),
            Self::Received(_) => None,
        }
    }
}

/// Accepts an id that needs no escaping in any log or header.
fn valid_id(id: &[u8]) -> Option<&str> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    let is_valid = (1..=MAX_BYTES).contains(&id.len()) && id.iter().all(is_plain);
    std::str::from_utf8(id).ok().filter(|_| is_valid)
}
