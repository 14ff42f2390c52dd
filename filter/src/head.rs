//! The request head, as far as the filter looks at it, read in place from the host's serialized header map.
//! Follows the proxy-wasm ABI 0.2.1 (map serialization) and HTTP semantics (RFC 9110, section 5: field names know no case).

use std::borrow::Cow;

/// Fields with this prefix are ours to say: what a client sends under it is taken away.
pub const INTERNAL_PREFIX: &str = "x-codex-edge-";

/// A field that must come once: a second copy makes it unusable, whatever the copies say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Single<'a> {
    /// The client sent none.
    #[default]
    Absent,
    /// The client sent one.
    Once(&'a [u8]),
    /// The client sent several: none of them is believed.
    Repeated,
}

impl<'a> Single<'a> {
    /// The value, when there is exactly one.
    pub fn value(self) -> Option<&'a [u8]> {
        match self {
            Self::Once(value) => Some(value),
            Self::Absent | Self::Repeated => None,
        }
    }

    /// Whether the client sent the field at all.
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

/// What the filter wants to know of a request; everything else in the map is passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestHead<'a> {
    /// `:method`; empty when the host has none.
    pub method: &'a [u8],
    /// `:path` with its query; empty when the host has none.
    pub path: &'a [u8],
    /// The credentials.
    pub authorization: Single<'a>,
    /// Where a browser's page comes from.
    pub origin: Single<'a>,
    /// The method that a preflight asks about.
    pub access_control_request_method: Single<'a>,
    /// The field names that a preflight asks about.
    pub access_control_request_headers: Single<'a>,
    /// Whether a preflight asks to come from a public page into a private network.
    pub access_control_request_private_network: Single<'a>,
    /// The declared length of the body.
    pub content_length: Single<'a>,
    /// Whether Envoy takes the request for gRPC, by its media type.
    pub looks_like_grpc: bool,
    /// The id that the client or Envoy gave the request.
    pub request_id: Single<'a>,
    /// The method of the request that a forward-auth proxy asks about.
    pub forwarded_method: Single<'a>,
    /// The path of the request that a forward-auth proxy asks about.
    pub forwarded_uri: Single<'a>,
    /// Names under [`INTERNAL_PREFIX`] that the client sent, `_` for `-` included; each once.
    pub internal: Vec<&'a str>,
}

impl<'a> RequestHead<'a> {
    /// Reads the host's serialized map: a count, pairs of lengths, then names and values, each followed by a NUL;
    /// integers are 32 bits, little endian. `None` when the bytes are not such a map.
    pub fn parse(map: &'a [u8]) -> Option<Self> {
        let (count, rest) = read_u32(map)?;
        let (mut lengths, mut strings) = rest.split_at_checked(count.checked_mul(8)?)?;
        let mut head = Self::default();
        for _ in 0..count {
            let (name_length, value_length);
            (name_length, lengths) = read_u32(lengths)?;
            (value_length, lengths) = read_u32(lengths)?;
            let (name, value);
            (name, strings) = read_string(strings, name_length)?;
            (value, strings) = read_string(strings, value_length)?;
            head.add(name, value);
        }
        Some(head)
    }

    fn add(&mut self, name: &'a [u8], value: &'a [u8]) {
        match &*lower(name) {
            b":method" => self.method = value,
            b":path" => self.path = value,
            b"authorization" => self.authorization.add(value),
            b"origin" => self.origin.add(value),
            b"access-control-request-method" => self.access_control_request_method.add(value),
            b"access-control-request-headers" => self.access_control_request_headers.add(value),
            b"access-control-request-private-network" => {
                self.access_control_request_private_network.add(value);
            }
            b"content-length" => self.content_length.add(value),
            b"content-type" => self.looks_like_grpc |= value.starts_with(b"application/grpc"),
            b"x-request-id" => self.request_id.add(value),
            b"x-forwarded-method" => self.forwarded_method.add(value),
            b"x-forwarded-uri" => self.forwarded_uri.add(value),
            other if is_internal(other) => self.add_internal(name),
            _ => {}
        }
    }

    fn add_internal(&mut self, name: &'a [u8]) {
        // A name that is not UTF-8 is no field name at all, and nobody behind us reads it as one of ours.
        if let Ok(name) = std::str::from_utf8(name)
            && !self.internal.contains(&name)
        {
            self.internal.push(name);
        }
    }
}

/// Envoy hands out names in lower case; hosts that keep the client's case pay for a copy.
fn lower(name: &[u8]) -> Cow<'_, [u8]> {
    if name.iter().any(u8::is_ascii_uppercase) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// Servers that follow CGI read `_` as `-`, so both spellings are ours.
fn is_internal(name: &[u8]) -> bool {
    name.get(..INTERNAL_PREFIX.len()).is_some_and(|start| {
        let letters = start.iter().zip(INTERNAL_PREFIX.as_bytes());
        letters
            .into_iter()
            .all(|(&sent, &ours)| sent == ours || (ours == b'-' && sent == b'_'))
    })
}

fn read_u32(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    Some((usize::try_from(u32::from_le_bytes(*number)).ok()?, rest))
}

fn read_string(bytes: &[u8], length: usize) -> Option<(&[u8], &[u8])> {
    let (string, rest) = bytes.split_at_checked(length)?;
    let (0, rest) = rest.split_first().map(|(nul, rest)| (*nul, rest))? else {
        return None;
    };
    Some((string, rest))
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The host's side of the map's wire form.
    pub(crate) fn write_map(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap().to_le_bytes();
        let mut map = u32::try_from(fields.len()).unwrap().to_le_bytes().to_vec();
        for (name, value) in fields {
            map.extend([length(name), length(value)].concat());
        }
        for (name, value) in fields {
            map.extend([*name, b"\0", *value, b"\0"].concat());
        }
        map
    }

    #[test]
    fn a_request_is_read() {
        let map = write_map(&[
            (b":method", b"POST"),
            (b":path", b"/v1/chat/completions?a=b"),
            (b"authorization", b"Bearer \xff"),
            (b"accept", b"*/*"),
        ]);
        let head = RequestHead::parse(&map).unwrap();
        assert_eq!(head.method, b"POST");
        assert_eq!(head.path, b"/v1/chat/completions?a=b");
        assert_eq!(head.authorization.value(), Some(&b"Bearer \xff"[..]));
        assert_eq!(head.origin, Single::Absent);
    }

    #[test]
    fn a_repeated_field_has_no_value() {
        let map = write_map(&[
            (b"authorization", b"Bearer a"),
            (b"Authorization", b"Bearer b"),
        ]);
        let head = RequestHead::parse(&map).unwrap();
        assert_eq!(head.authorization, Single::Repeated);
        assert_eq!(head.authorization.value(), None);
    }

    #[test]
    fn internal_names_are_found_in_any_spelling() {
        let map = write_map(&[
            (b"x-codex-edge-client", b"a"),
            (b"X-Codex-Edge-Admin", b"true"),
            (b"x_codex_edge_client", b"b"),
            (b"x-codex-edge-client", b"c"),
            (b"x-codex-edg", b"d"),
            (b"x-codex-edged", b"e"),
        ]);
        let head = RequestHead::parse(&map).unwrap();
        assert_eq!(
            head.internal,
            [
                "x-codex-edge-client",
                "X-Codex-Edge-Admin",
                "x_codex_edge_client"
            ]
        );
    }

    #[test]
    fn a_cut_map_is_no_map() {
        let map = write_map(&[(b":method", b"GET"), (b":path", b"/")]);
        for end in 0..map.len() {
            assert_eq!(RequestHead::parse(&map[..end]), None, "cut at {end}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = RequestHead::parse(&bytes);
        }

        #[test]
        fn any_fields_are_read(fields in prop::collection::vec(
            ("[a-zA-Z:_-]{0,20}", prop::collection::vec(any::<u8>(), 0..30)), 0..20)) {
            let pairs: Vec<_> = fields.iter().map(|(name, value)| (name.as_bytes(), &value[..])).collect();
            let map = write_map(&pairs);
            let head = RequestHead::parse(&map).unwrap();
            let sent = fields.iter().rev().find(|(name, _)| name.eq_ignore_ascii_case(":path"));
            prop_assert_eq!(head.path, sent.map_or(&[][..], |(_, value)| value));
        }
    }
}
