//! The request headers that the filter reads, collected in one pass over the header map.
//! Follows HTTP semantics (RFC 9110, section 5.1: header names are case-insensitive).

use std::borrow::Cow;

/// The prefix of the headers that only the filter may set. Those that a client sends are removed.
pub const INTERNAL_PREFIX: &str = "x-codex-edge-";

/// A header that must occur at most once: a second copy makes it unusable, whatever the values are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SingleHeader<'a> {
    /// The client did not send the header.
    #[default]
    Absent,
    /// The client sent the header once, with this value.
    Once(&'a [u8]),
    /// The client sent several copies; no value is used.
    Repeated,
}

impl<'a> SingleHeader<'a> {
    /// The value, if the header occurs exactly once.
    pub fn value(self) -> Option<&'a [u8]> {
        match self {
            Self::Once(value) => Some(value),
            Self::Absent | Self::Repeated => None,
        }
    }

    /// Whether the client sent the header at all.
    pub fn is_present(self) -> bool {
        self != Self::Absent
    }

    fn add(&mut self, value: &'a [u8]) {
        *self = match self {
            Self::Absent => Self::Once(value),
            Self::Once(_) | Self::Repeated => Self::Repeated,
        };
    }
}

/// The headers of a request that the policy reads; all others are ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestHead<'a> {
    /// `:method`; empty when it is missing.
    pub method: &'a [u8],
    /// `:path` with its query; empty when it is missing.
    pub path: &'a [u8],
    /// Whether the client sent several `host` headers, which Envoy joins with a comma; the name of a host has none.
    pub has_repeated_host: bool,
    /// `authorization`: the credentials.
    pub authorization: SingleHeader<'a>,
    /// `x-api-key`: the credentials on the routes of Anthropic's API.
    pub api_key: SingleHeader<'a>,
    /// Whether the client names a version of Anthropic's API.
    pub has_anthropic_version: bool,
    /// `origin`: the origin of the page that sends the request.
    pub origin: SingleHeader<'a>,
    /// The method that a CORS preflight asks for.
    pub access_control_request_method: SingleHeader<'a>,
    /// The header names that a CORS preflight asks for.
    pub access_control_request_headers: SingleHeader<'a>,
    /// `true` when a page of a public network asks for access to a private one.
    pub access_control_request_private_network: SingleHeader<'a>,
    /// The declared length of the body.
    pub content_length: SingleHeader<'a>,
    /// The compression of the body.
    pub content_encoding: SingleHeader<'a>,
    /// Whether Envoy treats the request as gRPC, by its media type.
    pub looks_like_grpc: bool,
    /// The request id from the client or from Envoy.
    pub request_id: SingleHeader<'a>,
    /// The method of the request that a forward-auth proxy asks about.
    pub forwarded_method: SingleHeader<'a>,
    /// The path of the request that a forward-auth proxy asks about.
    pub forwarded_uri: SingleHeader<'a>,
    /// The names under [`INTERNAL_PREFIX`] that the client sent, `_` for `-` included; each spelling once.
    pub internal: Vec<&'a str>,
}

impl<'a> RequestHead<'a> {
    /// Collects the headers of a request.
    pub fn new(headers: &'a [(String, Vec<u8>)]) -> Self {
        let mut head = Self::default();
        for (name, value) in headers {
            head.add(name, value);
        }
        head
    }

    /// Whether the body is compressed, so that it cannot be scanned. RFC 9110, section 8.4.1: `identity` stands for none.
    pub fn has_encoded_body(&self) -> bool {
        match self.content_encoding {
            SingleHeader::Absent => false,
            SingleHeader::Once(encoding) => !encoding.eq_ignore_ascii_case(b"identity"),
            SingleHeader::Repeated => true,
        }
    }

    fn add(&mut self, name: &'a str, value: &'a [u8]) {
        match &*lower(name) {
            ":method" => self.method = value,
            ":path" => self.path = value,
            ":authority" | "host" => self.has_repeated_host |= value.contains(&b','),
            "authorization" => self.authorization.add(value),
            "x-api-key" => self.api_key.add(value),
            "anthropic-version" => self.has_anthropic_version = true,
            "origin" => self.origin.add(value),
            "access-control-request-method" => self.access_control_request_method.add(value),
            "access-control-request-headers" => self.access_control_request_headers.add(value),
            "access-control-request-private-network" => {
                self.access_control_request_private_network.add(value);
            }
            "content-length" => self.content_length.add(value),
            "content-encoding" => self.content_encoding.add(value),
            "content-type" => self.looks_like_grpc |= value.starts_with(b"application/grpc"),
            "x-request-id" => self.request_id.add(value),
            "x-forwarded-method" => self.forwarded_method.add(value),
            "x-forwarded-uri" => self.forwarded_uri.add(value),
            other if is_internal(other) && !self.internal.contains(&name) => {
                self.internal.push(name);
            }
            _ => {}
        }
    }
}

/// Returns the name in lower case. Envoy's names already are; only other hosts pay for a copy.
fn lower(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// Whether a name in lower case has [`INTERNAL_PREFIX`]. CGI-style servers read `_` as `-`, so both spellings count.
fn is_internal(name: &str) -> bool {
    let prefix = name.as_bytes().get(..INTERNAL_PREFIX.len());
    prefix.is_some_and(|prefix| {
        let pairs = prefix.iter().zip(INTERNAL_PREFIX.as_bytes());
        pairs
            .into_iter()
            .all(|(&sent, &own)| sent == own || (own == b'-' && sent == b'_'))
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A header map as the SDK returns it.
    pub(crate) fn header_map(headers: &[(&str, &[u8])]) -> Vec<(String, Vec<u8>)> {
        let owned = |(name, value): &(&str, &[u8])| ((*name).to_owned(), value.to_vec());
        headers.iter().map(owned).collect()
    }

    #[test]
    fn known_headers_are_collected_with_their_bytes() {
        let map = header_map(&[
            (":method", b"POST"),
            (":path", b"/v1/chat/completions?a=b"),
            ("authorization", b"Bearer \xff"),
            ("accept", b"*/*"),
        ]);
        let head = RequestHead::new(&map);
        assert_eq!(head.method, b"POST");
        assert_eq!(head.path, b"/v1/chat/completions?a=b");
        assert_eq!(head.authorization.value(), Some(&b"Bearer \xff"[..]));
        assert_eq!(head.origin, SingleHeader::Absent);
    }

    #[test]
    fn repeated_header_has_no_value() {
        let map = header_map(&[
            ("authorization", b"Bearer a"),
            ("Authorization", b"Bearer b"),
        ]);
        let head = RequestHead::new(&map);
        assert_eq!(head.authorization, SingleHeader::Repeated);
        assert_eq!(head.authorization.value(), None);
    }

    #[test]
    fn internal_names_are_found_in_any_spelling() {
        let map = header_map(&[
            ("x-codex-edge-client", b"a"),
            ("X-Codex-Edge-Admin", b"true"),
            ("x_codex_edge_client", b"b"),
            ("x-codex-edge-client", b"c"),
            ("x-codex-edg", b"d"),
            ("x-codex-edged", b"e"),
        ]);
        assert_eq!(
            RequestHead::new(&map).internal,
            [
                "x-codex-edge-client",
                "X-Codex-Edge-Admin",
                "x_codex_edge_client"
            ]
        );
    }

    proptest! {
        #[test]
        fn any_header_map_is_read_without_panic(headers in prop::collection::vec(
            ("[a-zA-Z:_-]{0,20}|x-codex-edge-\\PC{0,9}", prop::collection::vec(any::<u8>(), 0..30)), 0..20)) {
            let head = RequestHead::new(&headers);
            let path = headers.iter().rev().find(|(name, _)| name.eq_ignore_ascii_case(":path"));
            prop_assert_eq!(head.path, path.map_or(&[][..], |(_, value)| value));
        }
    }
}
