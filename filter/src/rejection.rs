//! How a request ended as far as the filter is concerned, and what each refusal looks like.
//! The table of refusals is the contract's; types and codes are OpenAI's where OpenAI has one.

/// What became of a request: the label of `codex_edge_requests_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Went on to the upstream.
    Forwarded,
    /// `OPTIONS`, answered here.
    Options,
    /// `/verify`, answered with yes.
    Verified,
    /// Turned away.
    Refused(Refusal),
}

/// Why a request is turned away: the reason in the access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No or wrong bearer token.
    InvalidApiKey,
    /// No or wrong bearer token, too often from one address.
    StrangerRateLimited,
    /// A client asks too often.
    RateLimited,
    /// The body is longer than allowed.
    BodyTooLarge,
    /// The body is not a JSON object.
    InvalidJson,
    /// The body's `model` is no string, or is missing where it has to be there.
    InvalidModel,
    /// No such model.
    ModelNotFound,
    /// A model that this key may not use.
    ModelNotAllowed,
    /// A verb that `/verify` does not have.
    MethodNotAllowed,
    /// The host did not hand over what it promised.
    HostFailure,
}

/// A refusal as the client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The HTTP status.
    pub status: u16,
    /// The error's `type`.
    pub kind: &'static str,
    /// The error's `code`.
    pub code: &'static str,
    /// The field that is wrong.
    pub param: Option<&'static str>,
}

impl Outcome {
    /// All of them, in the order of [`Self::index`].
    pub fn all() -> impl Iterator<Item = Self> {
        let refused = Refusal::ALL.into_iter().map(Self::Refused);
        [Self::Forwarded, Self::Options, Self::Verified]
            .into_iter()
            .chain(refused)
    }

    /// The place in [`Self::all`].
    pub fn index(self) -> usize {
        match self {
            Self::Forwarded => 0,
            Self::Options => 1,
            Self::Verified => 2,
            Self::Refused(refusal) => 3 + refusal as usize,
        }
    }

    /// The word for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::Options => "options",
            Self::Verified => "verified",
            Self::Refused(refusal) => refusal.name(),
        }
    }
}

impl Refusal {
    const ALL: [Self; 10] = [
        Self::InvalidApiKey,
        Self::StrangerRateLimited,
        Self::RateLimited,
        Self::BodyTooLarge,
        Self::InvalidJson,
        Self::InvalidModel,
        Self::ModelNotFound,
        Self::ModelNotAllowed,
        Self::MethodNotAllowed,
        Self::HostFailure,
    ];

    /// The word for metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidApiKey => "invalid_api_key",
            Self::StrangerRateLimited => "stranger_rate_limited",
            Self::RateLimited => "rate_limited",
            Self::BodyTooLarge => "body_too_large",
            Self::InvalidJson => "invalid_json",
            Self::InvalidModel => "invalid_model",
            Self::ModelNotFound => "model_not_found",
            Self::ModelNotAllowed => "model_not_allowed",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::HostFailure => "host_failure",
        }
    }

    /// What the client is told, besides the message.
    pub fn shape(self) -> Shape {
        let (status, kind, code, param) = match self {
            Self::InvalidApiKey => (401, "authentication_error", "invalid_api_key", None),
            Self::StrangerRateLimited | Self::RateLimited => {
                (429, "rate_limit_error", "rate_limited", None)
            }
            Self::BodyTooLarge => (413, "invalid_request_error", "request_too_large", None),
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
            Self::MethodNotAllowed => (405, "invalid_request_error", "method_not_allowed", None),
            Self::HostFailure => (500, "server_error", "internal_error", None),
        };
        Shape {
            status,
            kind,
            code,
            param,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_in_order_and_have_names_of_their_own() {
        let names: std::collections::HashSet<_> = Outcome::all().map(Outcome::name).collect();
        assert_eq!(names.len(), Outcome::all().count());
        for (index, outcome) in Outcome::all().enumerate() {
            assert_eq!(outcome.index(), index, "{outcome:?}");
        }
    }
}
