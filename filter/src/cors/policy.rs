//! The CORS policy: the origins that may read responses, and the headers that follow from it.
//! Follows the Fetch standard (section 3.3, CORS protocol) and Private Network Access (section 3, preflights).

use super::OriginPattern;
use crate::head::{RequestHead, SingleHeader};
use crate::header_mutation::HeaderMutation;

/// The methods that a page may use.
const METHODS: &str = "GET, POST, DELETE, HEAD, OPTIONS";

/// The request headers of the official SDKs, for a preflight that names none.
const REQUEST_HEADERS: &str = "Authorization, Content-Type, Accept, Idempotency-Key, \
    OpenAI-Organization, OpenAI-Project, OpenAI-Beta, OpenAI-Version, X-Api-Key, Anthropic-Version, Anthropic-Beta, \
    Anthropic-Dangerous-Direct-Browser-Access, X-Requested-With, X-Request-Id, \
    X-Stainless-OS, X-Stainless-Lang, X-Stainless-Arch, X-Stainless-Runtime, X-Stainless-Runtime-Version, \
    X-Stainless-Package-Version, X-Stainless-Timeout, X-Stainless-Read-Timeout, X-Stainless-Retry-Count, \
    X-Stainless-Async, X-Stainless-Helper-Method, X-Stainless-Poll-Helper, X-Stainless-Custom-Poll-Interval, \
    dangerously-allow-browser, X-No-Keepalive";

/// The response headers that a page may read.
const EXPOSED_HEADERS: &str = "x-request-id, request-id, retry-after, retry-after-ms, x-should-retry, openai-processing-ms, \
    x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, \
    x-codex-edge-budget-limit, x-codex-edge-budget-remaining, x-codex-edge-budget-reset, x-codex-edge-ignored, x-codex-edge-limit, x-codex-edge-plan, x-codex-edge-thread";

/// The request headers on which the response depends, for caches.
const VARY: &str = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method";

/// The lifetime of a preflight in the browser's cache, in seconds. Browsers cap it at 600 to 86400.
const MAX_AGE: &str = "600";

/// The configured origins.
#[derive(Clone, Debug)]
pub enum CorsPolicy {
    /// The filter adds no CORS headers; those of the upstream pass.
    Off,
    /// Any origin.
    Any,
    /// These origins.
    Allow(Vec<OriginPattern>),
}

/// The CORS decision for one response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cors {
    /// CORS is off; the upstream's headers pass.
    Off,
    /// Any page may read the response, without credentials: the page of this origin, or none that the request named.
    Any(Option<String>),
    /// Pages of this origin may read the response, with credentials.
    Origin(String),
    /// Pages may not read the response.
    Disallowed,
}

impl CorsPolicy {
    /// Decides on the response to this request.
    pub fn decide(&self, head: &RequestHead) -> Cors {
        let is_allowed = |origin: &str| match self {
            Self::Allow(patterns) => patterns.iter().any(|pattern| pattern.matches(origin)),
            Self::Any | Self::Off => false, // Decided below.
        };
        match (self, head.origin) {
            (Self::Off, _) => Cors::Off,
            // Without an origin there is no page to name, and `*` excludes credentials.
            (Self::Any, SingleHeader::Absent) => Cors::Any(None),
            // A repeated or empty `origin` has no usable value and is disallowed.
            (policy, _) => match (policy, head.origin.value().and_then(visible_ascii)) {
                (Self::Any, Some(origin)) => Cors::Any(Some(origin.to_owned())),
                (_, Some(origin)) if is_allowed(origin) => Cors::Origin(origin.to_owned()),
                _ => Cors::Disallowed,
            },
        }
    }
}

impl Cors {
    /// The changes to the response headers.
    pub fn mutations(&self) -> impl Iterator<Item = HeaderMutation<'_>> {
        let allow = |origin| HeaderMutation::set("access-control-allow-origin", origin);
        let (named, fixed): (_, &'static [HeaderMutation<'static>]) = match self {
            Self::Off => (None, &[]),
            Self::Any(origin) => (Some(allow(origin.as_deref().unwrap_or("*"))), &ANY_ORIGIN),
            Self::Origin(origin) => (Some(allow(origin)), &NAMED_ORIGIN),
            Self::Disallowed => (None, &DISALLOWED),
        };
        named.into_iter().chain(fixed.iter().cloned())
    }

    /// The headers of the response to a preflight, besides [`Self::mutations`]; empty for a disallowed origin.
    pub fn preflight(&self, head: &RequestHead) -> Vec<(&'static str, String)> {
        if !matches!(self, Self::Any(_) | Self::Origin(_)) {
            return Vec::new();
        }
        let requested = head
            .access_control_request_headers
            .value()
            .and_then(visible_ascii);
        let mut headers = vec![
            ("access-control-allow-methods", METHODS.to_owned()),
            (
                "access-control-allow-headers",
                requested.unwrap_or(REQUEST_HEADERS).to_owned(),
            ),
            ("access-control-max-age", MAX_AGE.to_owned()),
        ];
        if head.access_control_request_private_network.value() == Some(b"true") {
            headers.push(("access-control-allow-private-network", "true".to_owned()));
        }
        headers
    }
}

const EXPOSE: HeaderMutation =
    HeaderMutation::set("access-control-expose-headers", EXPOSED_HEADERS);
const SET_CREDENTIALS: HeaderMutation =
    HeaderMutation::set("access-control-allow-credentials", "true");
const REMOVE_CREDENTIALS: HeaderMutation =
    HeaderMutation::Remove("access-control-allow-credentials");
/// Appended, since the upstream may vary by other headers.
const ADD_VARY: HeaderMutation = HeaderMutation::append("vary", VARY);

/// Besides the origin where any is allowed: a page that no operator has named gets no credentials of its visitor, such as
/// the cookies of a proxy in front.
static ANY_ORIGIN: [HeaderMutation; 3] = [REMOVE_CREDENTIALS, EXPOSE, ADD_VARY];

/// Besides the origin in `access-control-allow-origin`.
static NAMED_ORIGIN: [HeaderMutation; 3] = [SET_CREDENTIALS, EXPOSE, ADD_VARY];

/// Removes every CORS header of the upstream, so that a disallowed page finds none.
static DISALLOWED: [HeaderMutation; 8] = [
    HeaderMutation::Remove("access-control-allow-origin"),
    REMOVE_CREDENTIALS,
    HeaderMutation::Remove("access-control-expose-headers"),
    HeaderMutation::Remove("access-control-allow-methods"),
    HeaderMutation::Remove("access-control-allow-headers"),
    HeaderMutation::Remove("access-control-max-age"),
    HeaderMutation::Remove("access-control-allow-private-network"),
    ADD_VARY,
];

/// Whether an `OPTIONS` request is a preflight.
pub fn is_preflight(head: &RequestHead) -> bool {
    head.origin.is_present() && head.access_control_request_method.is_present()
}

/// Accepts a value that can be sent back unchanged: visible ASCII and spaces.
fn visible_ascii(value: &[u8]) -> Option<&str> {
    let is_visible = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
    let text = std::str::from_utf8(value).ok()?;
    (!value.is_empty() && value.iter().all(is_visible)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head<'a>(origin: &'a str) -> RequestHead<'a> {
        RequestHead {
            origin: SingleHeader::Once(origin.as_bytes()),
            ..RequestHead::default()
        }
    }

    #[test]
    fn allowed_origin_is_named_and_others_are_disallowed() {
        let list = CorsPolicy::Allow(vec![OriginPattern::parse("https://app.example").unwrap()]);
        let cases = [
            (
                &CorsPolicy::Any,
                "https://any.example",
                Cors::Any(Some("https://any.example".to_owned())),
            ),
            (&CorsPolicy::Any, "null", Cors::Any(Some("null".to_owned()))),
            (&CorsPolicy::Any, "", Cors::Disallowed),
            (&CorsPolicy::Any, "https://a\u{80}", Cors::Disallowed),
            (
                &list,
                "https://app.example",
                Cors::Origin("https://app.example".to_owned()),
            ),
            (&list, "https://any.example", Cors::Disallowed),
            (&CorsPolicy::Off, "https://any.example", Cors::Off),
        ];
        for (policy, origin, expected) in cases {
            assert_eq!(policy.decide(&head(origin)), expected, "{origin}");
        }
        let repeated = RequestHead {
            origin: SingleHeader::Repeated,
            ..RequestHead::default()
        };
        assert_eq!(CorsPolicy::Any.decide(&repeated), Cors::Disallowed);
        assert_eq!(
            CorsPolicy::Any.decide(&RequestHead::default()),
            Cors::Any(None)
        );
        assert_eq!(list.decide(&RequestHead::default()), Cors::Disallowed);
    }

    #[test]
    fn credentials_are_allowed_for_a_listed_origin_only() {
        let allow = |origin| HeaderMutation::set("access-control-allow-origin", origin);
        let named = Cors::Origin("https://app.example".to_owned());
        assert!(named.mutations().eq([
            allow("https://app.example"),
            SET_CREDENTIALS,
            EXPOSE,
            ADD_VARY
        ]));
        for (any, value) in [
            (None, "*"),
            (Some("https://a.example"), "https://a.example"),
        ] {
            let cors = Cors::Any(any.map(str::to_owned));
            let expected = [allow(value), REMOVE_CREDENTIALS, EXPOSE, ADD_VARY];
            assert!(cors.mutations().eq(expected), "{any:?}");
        }
        assert!(Cors::Disallowed.mutations().eq(DISALLOWED.clone()));
        assert!(Cors::Off.mutations().eq([]));
    }

    #[test]
    fn preflight_allows_the_requested_headers() {
        let named = Cors::Origin("https://app.example".to_owned());
        let preflight = RequestHead {
            access_control_request_headers: SingleHeader::Once(b"x-a, x-b"),
            access_control_request_private_network: SingleHeader::Once(b"true"),
            ..RequestHead::default()
        };
        let headers = named.preflight(&preflight);
        assert!(headers.contains(&("access-control-allow-headers", "x-a, x-b".to_owned())));
        assert!(headers.contains(&("access-control-allow-private-network", "true".to_owned())));
        let headers = named.preflight(&RequestHead::default());
        assert!(headers.contains(&("access-control-allow-headers", REQUEST_HEADERS.to_owned())));
        assert!(
            !headers
                .iter()
                .any(|(name, _)| *name == "access-control-allow-private-network")
        );
        assert_eq!(Cors::Disallowed.preflight(&preflight), []);
    }
}
