//! API keys and their clients.
//! Follows RFC 6750, section 2.1: the scheme in any letter case, then the token.

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::budget::Budget;
use crate::head::SingleHeader;
use crate::in_flight::Usage;
use crate::model::ModelPatterns;
use crate::rate_limit::RateLimit;
use crate::route::Dialect;

/// The SHA-256 of an API key. Compared in constant time, and never printed.
#[derive(Clone, Copy)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// Hashes a token.
    pub fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// Parses 64 hexadecimal digits.
    pub fn parse(digits: &str) -> Option<Self> {
        let mut hash = [0; 32];
        hex::decode_to_slice(digits, &mut hash).ok()?;
        Some(Self(hash))
    }
}

impl PartialEq for KeyHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for KeyHash {}

impl Hash for KeyHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[redacted]")
    }
}

/// The holder of an API key, with its restrictions.
#[derive(Debug)]
pub struct Client {
    /// The name in headers to the upstream, in logs and in bucket keys.
    pub id: String,
    /// The models that the key is restricted to.
    pub models: Option<ModelPatterns>,
    /// The limit of requests that start a turn.
    pub limit: Option<RateLimit>,
    /// The instant from which on the key is invalid.
    pub expires_at: Option<SystemTime>,
    /// Whether the client may read the usage of all clients.
    pub admin: bool,
    /// The profile of its turns, if it is not the sidecar's default.
    pub profile: Option<Profile>,
    /// The token budget, which the upstream keeps.
    pub budget: Option<Budget>,
    /// The requests of the client in this worker.
    pub in_flight: Rc<Usage>,
}

/// The mode in which Codex serves a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// As a plain model.
    Chat,
    /// With Codex's tools, inside the sandbox.
    Agent,
}

impl Client {
    /// The headers that identify the client to the upstream.
    pub fn identity(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let profile = self.profile.map(|profile| match profile {
            Profile::Chat => "chat",
            Profile::Agent => "agent",
        });
        let headers = [
            ("x-codex-edge-client", Some(self.id.as_str())),
            ("x-codex-edge-profile", profile),
            ("x-codex-edge-admin", self.admin.then_some("true")),
            (
                "x-codex-edge-models",
                self.models.as_ref().map(ModelPatterns::as_str),
            ),
            (
                "x-codex-edge-budget",
                self.budget.as_ref().map(Budget::as_str),
            ),
            // The upstream reports a budget that a stream has used up in a trailer; one that was not asked for is not sent.
            ("te", self.budget.as_ref().map(|_| "trailers")),
        ];
        headers
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
    }
}

/// The clients by the SHA-256 of their key.
///
/// A lookup takes as long with one key as with a thousand, and its time does not depend on how close a guess is: the
/// map sees only the SHA-256 of the token, its hash (std's SipHash) has a random key, and candidates are compared in
/// constant time.
#[derive(Debug, Default)]
pub struct Keyring(HashMap<KeyHash, Rc<Client>>);

impl Keyring {
    /// Adds a client; returns `false` if the key is already in use.
    #[must_use]
    pub fn add(&mut self, key: KeyHash, client: Client) -> bool {
        self.0.insert(key, Rc::new(client)).is_none()
    }

    /// The clients, in arbitrary order.
    pub fn clients(&self) -> impl Iterator<Item = &Client> {
        self.0.values().map(Rc::as_ref)
    }

    /// Continues the counts of the clients that a previous keyring has too: their requests are still in flight.
    pub fn adopt_in_flight(&mut self, previous: &Self) {
        let counts: HashMap<_, _> = previous
            .clients()
            .map(|client| (client.id.as_str(), &client.in_flight))
            .collect();
        for client in self.0.values_mut().filter_map(Rc::get_mut) {
            if let Some(count) = counts.get(client.id.as_str()) {
                client.in_flight = Rc::clone(count);
            }
        }
    }

    /// Returns the client of a key. `now` is called only for a key that expires.
    pub fn client(
        &self,
        key: &[u8],
        now: impl FnOnce() -> Option<SystemTime>,
    ) -> Option<Rc<Client>> {
        let client = self.0.get(&KeyHash::of(key))?;
        let is_expired = client
            .expires_at
            // Without a clock a key that expires is invalid: fail closed.
            .is_some_and(|end| now().is_none_or(|now| now >= end));
        (!is_expired).then(|| Rc::clone(client))
    }
}

/// The key in the headers of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential<'a> {
    /// None that can be read.
    Missing,
    /// One, in one header or the same in both.
    Key(&'a [u8]),
    /// Two different ones. Neither is used: a proxy on the way may have checked the other one.
    Conflicting,
}

impl<'a> Credential<'a> {
    /// Reads the key of `authorization`, and on the routes of Anthropic's API that of `x-api-key`.
    pub fn of(
        dialect: Dialect,
        authorization: SingleHeader<'a>,
        api_key: SingleHeader<'a>,
    ) -> Self {
        let bearer = authorization.value().and_then(bearer_token);
        if dialect == Dialect::OpenAi || !api_key.is_present() {
            return bearer.map_or(Self::Missing, Self::Key);
        }
        let key = api_key.value().map(<[u8]>::trim_ascii);
        match key.filter(|key| !key.is_empty()) {
            Some(key) if !authorization.is_present() || bearer == Some(key) => Self::Key(key),
            None if !authorization.is_present() => Self::Missing,
            Some(_) | None => Self::Conflicting,
        }
    }
}

/// Returns the token of `Bearer <token>`.
fn bearer_token(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = authorization.split_at_checked(6)?;
    let token = rest.trim_ascii();
    let has_space = rest.first().is_some_and(u8::is_ascii_whitespace);
    (scheme.eq_ignore_ascii_case(b"bearer") && has_space && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use proptest::prelude::*;

    use super::*;
    use crate::model::ModelPattern;

    fn client(id: &str, expires_at: Option<SystemTime>) -> Client {
        Client {
            id: id.to_owned(),
            models: None,
            limit: None,
            expires_at,
            admin: false,
            profile: None,
            budget: None,
            in_flight: Rc::default(),
        }
    }

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1000)
    }

    #[test]
    fn bearer_token_needs_scheme_space_and_token() {
        let cases: [(&[u8], Option<&[u8]>); 13] = [
            (b"Bearer abc", Some(b"abc")),
            (b"bearer abc", Some(b"abc")),
            (b"BEARER  abc ", Some(b"abc")),
            (b"Bearer\tabc", Some(b"abc")),
            (b"Bearer \xff\x00", Some(b"\xff\x00")),
            (b"Bearer", None),
            (b"Bearer ", None),
            (b"Bearerabc", None),
            (b"Basic YTpi", None),
            (b"Token abc", None),
            (b" Bearer abc", None),
            (b"abc", None),
            (b"", None),
        ];
        for (value, token) in cases {
            assert_eq!(bearer_token(value), token, "{value:?}");
        }
    }

    #[test]
    fn client_is_found_by_its_unexpired_key_only() {
        let second = Duration::from_secs(1);
        let mut keyring = Keyring::default();
        assert!(keyring.add(KeyHash::of(b"one"), client("first", None)));
        assert!(keyring.add(KeyHash::of(b"late"), client("late", Some(now()))));
        assert!(keyring.add(KeyHash::of(b"soon"), client("soon", Some(now() + second))));
        assert!(!keyring.add(KeyHash::of(b"soon"), client("again", None)));
        let cases = [
            ("one", Some("first")),
            ("One", None),
            ("on", None),
            ("late", None),
        ];
        for (value, id) in cases {
            let found = keyring.client(value.as_bytes(), || Some(now()));
            assert_eq!(
                found.as_ref().map(|client| client.id.as_str()),
                id,
                "{value}"
            );
        }
    }

    #[test]
    fn credential_is_one_key_in_either_header() {
        use SingleHeader::{Absent, Once, Repeated};
        let (bearer, other) = (Once(b"Bearer k"), Once(b"Bearer other"));
        let key = Credential::Key(b"k");
        for (dialect, authorization, api_key, credential) in [
            (Dialect::OpenAi, bearer, Absent, key),
            (Dialect::OpenAi, bearer, Once(b"x"), key),
            (Dialect::OpenAi, Absent, Once(b"k"), Credential::Missing),
            (Dialect::Anthropic, Absent, Absent, Credential::Missing),
            (Dialect::Anthropic, bearer, Absent, key),
            (Dialect::Anthropic, Absent, Once(b" k "), key),
            (Dialect::Anthropic, bearer, Once(b"k"), key),
            (
                Dialect::Anthropic,
                other,
                Once(b"k"),
                Credential::Conflicting,
            ),
            (
                Dialect::Anthropic,
                Once(b"Basic k"),
                Once(b"k"),
                Credential::Conflicting,
            ),
            (
                Dialect::Anthropic,
                Repeated,
                Once(b"k"),
                Credential::Conflicting,
            ),
            (Dialect::Anthropic, Absent, Repeated, Credential::Missing),
            (Dialect::Anthropic, Absent, Once(b" "), Credential::Missing),
            (
                Dialect::Anthropic,
                bearer,
                Repeated,
                Credential::Conflicting,
            ),
        ] {
            assert_eq!(
                Credential::of(dialect, authorization, api_key),
                credential,
                "{dialect:?} {authorization:?} {api_key:?}"
            );
        }
    }

    #[test]
    fn key_hash_is_parsed_and_redacted() {
        let digits = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
        let hash = KeyHash::parse(digits).unwrap();
        assert_eq!(hash, KeyHash::of(b"foo"));
        assert_eq!(KeyHash::parse(&digits.to_uppercase()), Some(hash));
        assert_eq!(format!("{hash:?}"), "[redacted]");
        assert_eq!(KeyHash::parse(&digits[1..]), None);
        assert_eq!(KeyHash::parse(&digits.replace('2', "g")), None);
    }

    #[test]
    fn identity_headers_carry_client_profile_admin_models_and_budget() {
        let plain = client("a", None);
        assert!(plain.identity().eq([("x-codex-edge-client", "a")]));
        let models = ["codex-5*", "gpt-5"].map(|text| ModelPattern::parse(text).unwrap());
        let full = Client {
            models: Some(models.into_iter().collect()),
            admin: true,
            profile: Some(Profile::Agent),
            budget: Budget::parse("day=9"),
            in_flight: Rc::default(),
            ..plain
        };
        let expected = [
            ("x-codex-edge-client", "a"),
            ("x-codex-edge-profile", "agent"),
            ("x-codex-edge-admin", "true"),
            ("x-codex-edge-models", "codex-5*,gpt-5"),
            ("x-codex-edge-budget", "day=9"),
            ("te", "trailers"),
        ];
        assert!(full.identity().eq(expected));
    }

    proptest! {
        #[test]
        fn only_the_exact_token_finds_its_client(token in "[!-~]{1,40}", value in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut keyring = Keyring::default();
            prop_assert!(keyring.add(KeyHash::of(token.as_bytes()), client("a", None)));
            let is_token = value == token.as_bytes();
            prop_assert_eq!(keyring.client(&value, || Some(now())).is_some(), is_token);
            let right = format!("Bearer {token}");
            prop_assert_eq!(bearer_token(right.as_bytes()), Some(token.as_bytes()));
            prop_assert!(keyring.client(token.as_bytes(), || Some(now())).is_some());
        }
    }
}
