//! The reasons for which the filter rejects a request, and the error that the client gets for each.
//! Error types and codes follow OpenAI's API reference where OpenAI has one.

/// The reason of a rejection, as it stands in the access log and in the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectReason {
    /// Missing or invalid API key.
    InvalidApiKey,
    /// Missing or invalid API key, and the client address has exceeded `unauthenticated_rate_limit`.
    UnauthenticatedRateLimited,
    /// The client has exceeded its `rate_limit`.
    RateLimited,
    /// The token budget of the client is spent.
    BudgetSpent,
    /// The body is longer than `max_body_bytes`.
    BodyTooLarge,
    /// The client has as many requests in flight as it may have.
    ClientRequestsExceeded,
    /// Envoy holds as much of the client's bodies as it may.
    ClientMemoryExceeded,
    /// Envoy holds as much of all bodies as it may.
    MemoryExceeded,
    /// The body is compressed, and its model must be checked.
    EncodedBody,
    /// The body is not a JSON object.
    InvalidJson,
    /// `model` is not a string, or is missing without a default.
    InvalidModel,
    /// `model` is not in the catalogue.
    ModelNotFound,
    /// The API key does not allow `model`.
    ModelNotAllowed,
    /// The page of the request is not in `cors.allowed_origins`, and no key tells it from other clients.
    OriginNotAllowed,
    /// The request has several `host` headers.
    RepeatedHost,
    /// A method that `/verify` does not support.
    MethodNotAllowed,
    /// A host call failed.
    HostFailure,
}

/// The parts of an error response that depend on the reason alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorSpec {
    /// The HTTP status.
    pub status: u16,
    /// The error's `type`.
    pub kind: &'static str,
    /// The error's `code`.
    pub code: &'static str,
    /// The name of the invalid parameter.
    pub param: Option<&'static str>,
}

impl RejectReason {
    /// Every reason, in the order of the discriminants.
    pub(crate) const ALL: [Self; 17] = [
        Self::InvalidApiKey,
        Self::UnauthenticatedRateLimited,
        Self::RateLimited,
        Self::BudgetSpent,
        Self::BodyTooLarge,
        Self::ClientRequestsExceeded,
        Self::ClientMemoryExceeded,
        Self::MemoryExceeded,
        Self::EncodedBody,
        Self::InvalidJson,
        Self::InvalidModel,
        Self::ModelNotFound,
        Self::ModelNotAllowed,
        Self::OriginNotAllowed,
        Self::RepeatedHost,
        Self::MethodNotAllowed,
        Self::HostFailure,
    ];

    /// The name in metrics and in the access log.
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidApiKey => "invalid_api_key",
            // The name is public: dashboards and alerts select by it.
            Self::UnauthenticatedRateLimited => "stranger_rate_limited",
            Self::RateLimited => "rate_limited",
            Self::BudgetSpent => "budget_spent",
            Self::BodyTooLarge => "body_too_large",
            Self::ClientRequestsExceeded => "client_requests_exceeded",
            Self::ClientMemoryExceeded => "client_memory_exceeded",
            Self::MemoryExceeded => "memory_exceeded",
            Self::EncodedBody => "encoded_body",
            Self::InvalidJson => "invalid_json",
            Self::InvalidModel => "invalid_model",
            Self::ModelNotFound => "model_not_found",
            Self::ModelNotAllowed => "model_not_allowed",
            Self::OriginNotAllowed => "origin_not_allowed",
            Self::RepeatedHost => "repeated_host",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::HostFailure => "host_failure",
        }
    }

    /// The error that the client gets, without its message.
    pub fn error_spec(self) -> ErrorSpec {
        let (status, kind, code, param) = match self {
            Self::InvalidApiKey => (401, "authentication_error", "invalid_api_key", None),
            Self::UnauthenticatedRateLimited | Self::RateLimited => {
                (429, "rate_limit_error", "rate_limited", None)
            }
            Self::BudgetSpent => (429, "insufficient_quota", "insufficient_quota", None),
            Self::BodyTooLarge => (413, "invalid_request_error", "request_too_large", None),
            Self::ClientRequestsExceeded => {
                (429, "rate_limit_error", "client_requests_exceeded", None)
            }
            Self::ClientMemoryExceeded => (429, "rate_limit_error", "client_memory_exceeded", None),
            Self::MemoryExceeded => (503, "server_error", "memory_exceeded", None),
            Self::EncodedBody => (415, "invalid_request_error", "unsupported_media_type", None),
            Self::InvalidJson => (400, "invalid_request_error", "invalid_json", None),
            Self::InvalidModel => (
                400,
                "invalid_request_error",
                "invalid_request_error",
                Some("model"),
            ),
            Self::ModelNotFound => (
                404,
                "invalid_request_error",
                "model_not_found",
                Some("model"),
            ),
            Self::ModelNotAllowed => (403, "permission_error", "model_not_allowed", Some("model")),
            Self::OriginNotAllowed => (403, "permission_error", "origin_not_allowed", None),
            Self::RepeatedHost => (400, "invalid_request_error", "invalid_request_error", None),
            Self::MethodNotAllowed => (405, "invalid_request_error", "method_not_allowed", None),
            Self::HostFailure => (500, "server_error", "internal_error", None),
        };
        ErrorSpec {
            status,
            kind,
            code,
            param,
        }
    }
}
