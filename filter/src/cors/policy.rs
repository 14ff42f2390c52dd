//! Cross-origin requests: which pages may read an answer, and what a preflight is told.
//! The Fetch standard (section 3.3, CORS protocol) and Private Network Access (section 3, preflights).

use super::OriginPattern;
use crate::head::{RequestHead, Single};

/// What a page may use in an actual request, besides what it asks for by name in a preflight.
const METHODS: &str = "GET, POST, DELETE, HEAD, OPTIONS";

/// What the official SDKs send when a preflight names nothing.
const REQUEST_FIELDS: &str = "Authorization, Content-Type, Accept, Idempotency-Key, \
    OpenAI-Organization, OpenAI-Project, OpenAI-Beta, OpenAI-Version, X-Requested-With, X-Request-Id, \
    X-Stainless-OS, X-Stainless-Lang, X-Stainless-Arch, X-Stainless-Runtime, X-Stainless-Runtime-Version, \
    X-Stainless-Package-Version, X-Stainless-Timeout, X-Stainless-Read-Timeout, X-Stainless-Retry-Count, \
    X-Stainless-Async, X-Stainless-Helper-Method, X-Stainless-Poll-Helper, X-Stainless-Custom-Poll-Interval, \
    dangerously-allow-browser, X-No-Keepalive";

/// What a page may read of an answer.
const EXPOSED_FIELDS: &str = "x-request-id, retry-after, retry-after-ms, x-should-retry, openai-processing-ms, \
    x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, \
    x-codex-edge-ignored, x-codex-edge-plan";

/// What an answer depends on, for caches.
const VARY: &str = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method";

/// Seconds for which a browser may remember a preflight; all of them cap it somewhere between 600 and 86400.
const MAX_AGE: &str = "600";

/// Which pages may read answers.
#[derive(Clone, Debug)]
pub enum Policy {
    /// The filter says nothing about origins; what the upstream says passes.
    Off,
    /// Any page.
    Any,
    /// Pages of these origins.
    Allow(Vec<OriginPattern>),
}

/// What the answer to one request says about origins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cors {
    /// Nothing, as configured.
    Off,
    /// Everybody may read it; there was no origin to name.
    Any,
    /// This page may read it, with credentials.
    Origin(String),
    /// No page may read it.
    Foreign,
}

/// An answer's field, and what to do with the one that the upstream may have written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// Takes the place of the upstream's.
    Set(&'static str, &'a str),
    /// Stands beside the upstream's, which has its own reasons.
    Add(&'static str, &'a str),
    /// Takes the upstream's away.
    Remove(&'static str),
}

impl Policy {
    /// What the answer to this request is to say.
    pub fn decide(&self, head: &RequestHead) -> Cors {
        let is_allowed = |origin: &str| match self {
            Self::Allow(patterns) => patterns.iter().any(|pattern| pattern.matches(origin)),
            Self::Any => true,
            Self::Off => false,
        };
        match (self, head.origin) {
            (Self::Off, _) => Cors::Off,
            (Self::Any, Single::Absent) => Cors::Any,
            _ => match head.origin.value().and_then(visible_ascii) {
                Some(origin) if is_allowed(origin) => Cors::Origin(origin.to_owned()),
                _ => Cors::Foreign,
            },
        }
    }
}

impl Cors {
    /// The changes to an answer's fields.
    pub fn changes(&self) -> impl Iterator<Item = Change<'_>> {
        let allow = |origin| Change::Set("access-control-allow-origin", origin);
        let (named, fixed): (_, &'static [Change<'static>]) = match self {
            Self::Off => (None, &[]),
            Self::Any => (Some(allow("*")), &[REMOVE_CREDENTIALS, ADD_VARY]),
            Self::Origin(origin) => (Some(allow(origin)), &[SET_CREDENTIALS, EXPOSE, ADD_VARY]),
            Self::Foreign => (None, &REFUSED),
        };
        named.into_iter().chain(fixed.iter().copied())
    }

    /// The fields of the answer to a preflight, besides those of [`Self::changes`]; none for a foreign page.
    pub fn preflight(&self, head: &RequestHead) -> Vec<(&'static str, String)> {
        if !matches!(self, Self::Any | Self::Origin(_)) {
            return Vec::new();
        }
        let requested = head
            .access_control_request_headers
            .value()
            .and_then(visible_ascii);
        let mut fields = vec![
            ("access-control-allow-methods", METHODS.to_owned()),
            (
                "access-control-allow-headers",
                requested.unwrap_or(REQUEST_FIELDS).to_owned(),
            ),
            ("access-control-max-age", MAX_AGE.to_owned()),
        ];
        if head.access_control_request_private_network.value() == Some(b"true") {
            fields.push(("access-control-allow-private-network", "true".to_owned()));
        }
        fields
    }
}

const EXPOSE: Change = Change::Set("access-control-expose-headers", EXPOSED_FIELDS);
const SET_CREDENTIALS: Change = Change::Set("access-control-allow-credentials", "true");
const REMOVE_CREDENTIALS: Change = Change::Remove("access-control-allow-credentials");
const ADD_VARY: Change = Change::Add("vary", VARY);

/// A page that may not read an answer finds no word about origins in it, whatever the upstream wrote.
const REFUSED: [Change; 8] = [
    Change::Remove("access-control-allow-origin"),
    REMOVE_CREDENTIALS,
    Change::Remove("access-control-expose-headers"),
    Change::Remove("access-control-allow-methods"),
    Change::Remove("access-control-allow-headers"),
    Change::Remove("access-control-max-age"),
    Change::Remove("access-control-allow-private-network"),
    ADD_VARY,
];

/// Whether this is a preflight, rather than somebody's own `OPTIONS`.
pub fn is_preflight(head: &RequestHead) -> bool {
    head.origin.is_present() && head.access_control_request_method.is_present()
}

/// What can be sent back as it came.
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
            origin: Single::Once(origin.as_bytes()),
            ..RequestHead::default()
        }
    }

    #[test]
    fn an_origin_is_named_or_foreign() {
        let list = Policy::Allow(vec![OriginPattern::parse("https://app.example").unwrap()]);
        let cases = [
            (
                &Policy::Any,
                "https://any.example",
                Cors::Origin("https://any.example".to_owned()),
            ),
            (&Policy::Any, "null", Cors::Origin("null".to_owned())),
            (&Policy::Any, "", Cors::Foreign),
            (&Policy::Any, "https://a\u{80}", Cors::Foreign),
            (
                &list,
                "https://app.example",
                Cors::Origin("https://app.example".to_owned()),
            ),
            (&list, "https://any.example", Cors::Foreign),
            (&Policy::Off, "https://any.example", Cors::Off),
        ];
        for (policy, origin, expected) in cases {
            assert_eq!(policy.decide(&head(origin)), expected, "{origin}");
        }
        let repeated = RequestHead {
            origin: Single::Repeated,
            ..RequestHead::default()
        };
        assert_eq!(Policy::Any.decide(&repeated), Cors::Foreign);
        assert_eq!(Policy::Any.decide(&RequestHead::default()), Cors::Any);
        assert_eq!(list.decide(&RequestHead::default()), Cors::Foreign);
    }

    #[test]
    fn credentials_go_with_a_named_origin_only() {
        let allow = |origin| Change::Set("access-control-allow-origin", origin);
        let named = Cors::Origin("https://app.example".to_owned());
        assert!(named.changes().eq([
            allow("https://app.example"),
            SET_CREDENTIALS,
            EXPOSE,
            ADD_VARY
        ]));
        assert!(
            Cors::Any
                .changes()
                .eq([allow("*"), REMOVE_CREDENTIALS, ADD_VARY])
        );
        assert!(Cors::Foreign.changes().eq(REFUSED));
        assert!(Cors::Off.changes().eq([]));
    }

    #[test]
    fn a_preflight_is_told_what_it_asks() {
        let named = Cors::Origin("https://app.example".to_owned());
        let asks = RequestHead {
            access_control_request_headers: Single::Once(b"x-a, x-b"),
            access_control_request_private_network: Single::Once(b"true"),
            ..RequestHead::default()
        };
        let fields = named.preflight(&asks);
        assert!(fields.contains(&("access-control-allow-headers", "x-a, x-b".to_owned())));
        assert!(fields.contains(&("access-control-allow-private-network", "true".to_owned())));
        let fields = named.preflight(&RequestHead::default());
        assert!(fields.contains(&("access-control-allow-headers", REQUEST_FIELDS.to_owned())));
        assert!(
            !fields
                .iter()
                .any(|(name, _)| *name == "access-control-allow-private-network")
        );
        assert_eq!(Cors::Foreign.preflight(&asks), []);
    }
}
