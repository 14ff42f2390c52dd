//! Bearer tokens and the clients that hold them.
//! RFC 6750, section 2.1: the scheme in any letter case, then the token.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::time::SystemTime;

use hashbrown::HashMap;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::model::Patterns;
use crate::rate_limit::Limit;

/// The SHA-256 of a bearer token. Two of them are compared in constant time, and they never show in a log.
#[derive(Clone, Copy)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// The hash of a token.
    pub fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// Takes 64 hexadecimal digits.
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

/// Who holds a key, and what the key may do.
#[derive(Debug)]
pub struct Client {
    /// The name for the upstream, the logs and the buckets.
    pub id: String,
    /// The models that the key is restricted to.
    pub models: Option<Patterns>,
    /// How often it may start a turn.
    pub limit: Option<Limit>,
    /// The instant from which on the key is wrong.
    pub expires_at: Option<SystemTime>,
    /// Whether it sees everybody's usage.
    pub admin: bool,
    /// How its turns run, when that is not the default.
    pub profile: Option<Profile>,
}

/// How Codex serves a client: as a plain model, or with its tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// A plain model.
    Chat,
    /// With tools, inside the sandbox.
    Agent,
}

impl Client {
    /// The fields that tell the upstream who calls.
    pub fn identity(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let profile = self.profile.map(|profile| match profile {
            Profile::Chat => "chat",
            Profile::Agent => "agent",
        });
        let fields = [
            ("x-codex-edge-client", Some(self.id.as_str())),
            ("x-codex-edge-profile", profile),
            ("x-codex-edge-admin", self.admin.then_some("true")),
            (
                "x-codex-edge-models",
                self.models.as_ref().map(Patterns::as_str),
            ),
        ];
        fields
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
    }
}

/// The clients by the hash of their key.
///
/// Looking one up takes as long with one key as with a thousand, and says nothing about how near a guess was:
/// the table is searched by a keyed hash of a SHA-256, and candidates are compared in constant time.
#[derive(Debug, Default)]
pub struct Keyring(HashMap<KeyHash, Rc<Client>>);

impl Keyring {
    /// Adds a client; `false` when the same key is there already.
    #[must_use]
    pub fn add(&mut self, key: KeyHash, client: Client) -> bool {
        self.0.insert(key, Rc::new(client)).is_none()
    }

    /// The clients, in no order.
    pub fn clients(&self) -> impl Iterator<Item = &Client> {
        self.0.values().map(Rc::as_ref)
    }

    /// Who holds the token of this `Authorization` value. The clock is only asked when the key has an end.
    pub fn client(
        &self,
        authorization: &[u8],
        now: impl FnOnce() -> Option<SystemTime>,
    ) -> Option<Rc<Client>> {
        let client = self.0.get(&KeyHash::of(bearer_token(authorization)?))?;
        let is_expired = client
            .expires_at
            .is_some_and(|end| now().is_none_or(|now| now >= end));
        (!is_expired).then(|| Rc::clone(client))
    }
}

/// The token of `Bearer <token>`.
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
    use crate::model::Pattern;

    fn client(id: &str, expires_at: Option<SystemTime>) -> Client {
        Client {
            id: id.to_owned(),
            models: None,
            limit: None,
            expires_at,
            admin: false,
            profile: None,
        }
    }

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1000)
    }

    #[test]
    fn a_token_has_one_form() {
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
    fn a_client_is_known_by_its_key() {
        let second = Duration::from_secs(1);
        let mut keyring = Keyring::default();
        assert!(keyring.add(KeyHash::of(b"one"), client("first", None)));
        assert!(keyring.add(KeyHash::of(b"late"), client("late", Some(now()))));
        assert!(keyring.add(KeyHash::of(b"soon"), client("soon", Some(now() + second))));
        assert!(!keyring.add(KeyHash::of(b"soon"), client("again", None)));
        let cases = [
            ("Bearer one", Some("first")),
            ("bearer one", Some("first")),
            ("Bearer One", None),
            ("Bearer one,Bearer one", None),
            ("Bearer on", None),
            ("Bearer late", None),
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
    fn a_hash_is_parsed_and_not_shown() {
        let digits = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
        let hash = KeyHash::parse(digits).unwrap();
        assert_eq!(hash, KeyHash::of(b"foo"));
        assert_eq!(KeyHash::parse(&digits.to_uppercase()), Some(hash));
        assert_eq!(format!("{hash:?}"), "[redacted]");
        assert_eq!(KeyHash::parse(&digits[1..]), None);
        assert_eq!(KeyHash::parse(&digits.replace('2', "g")), None);
    }

    #[test]
    fn the_upstream_is_told_what_it_needs() {
        let plain = client("a", None);
        assert!(plain.identity().eq([("x-codex-edge-client", "a")]));
        let models = ["codex-5*", "gpt-5"].map(|text| Pattern::parse(text).unwrap());
        let full = Client {
            models: Some(models.into_iter().collect()),
            admin: true,
            profile: Some(Profile::Agent),
            ..plain
        };
        let expected = [
            ("x-codex-edge-client", "a"),
            ("x-codex-edge-profile", "agent"),
            ("x-codex-edge-admin", "true"),
            ("x-codex-edge-models", "codex-5*,gpt-5"),
        ];
        assert!(full.identity().eq(expected));
    }

    proptest! {
        #[test]
        fn only_the_key_itself_passes(token in "[!-~]{1,40}", value in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut keyring = Keyring::default();
            prop_assert!(keyring.add(KeyHash::of(token.as_bytes()), client("a", None)));
            let value_is_it = bearer_token(&value) == Some(token.as_bytes());
            prop_assert_eq!(keyring.client(&value, || Some(now())).is_some(), value_is_it);
            let right = format!("Bearer {token}");
            prop_assert!(keyring.client(right.as_bytes(), || Some(now())).is_some());
        }
    }
}
