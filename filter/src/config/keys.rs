//! The `keys` of a configuration: the clients, their keys and their restrictions.
//! Follows RFC 6750 for tokens and RFC 3339 for times.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::SystemTime;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::fields::{ConfigError, Field, Object};
use super::values::{DEFAULT_LIMIT, MAX_NAME_BYTES, read_limit, read_patterns};
use crate::auth::{Client, KeyHash, Keyring, Profile};
use crate::budget::Budget;
use crate::model::ModelPatterns;
use crate::rate_limit::RateLimit;

/// The fields of a key, as error messages list them.
pub(super) const KNOWN: &str =
    "id, sha256, key, models, rate_limit, budget, expires_at, disabled, admin, profile";

/// The budget of a key, as error messages describe it.
const BUDGET: &str = "limits such as \"day=200000,month.output=5000000\" in tokens";

/// The length that a key must have, where the key itself is known and not only its hash.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyLength {
    /// Whether a shorter key is an error instead of a warning: others reach the public listener.
    pub(super) is_required: bool,
}

impl KeyLength {
    /// Characters of a key. An attacker can try 300 keys a minute from each address, and shorter ones are often words.
    const MIN: usize = 16;

    /// Checks the key at `place`.
    pub(super) fn check(
        self,
        place: &str,
        key: &str,
        warnings: &mut Vec<String>,
    ) -> Result<(), ConfigError> {
        if key.len() >= Self::MIN {
            return Ok(());
        }
        let text = format!(
            "shorter than {} characters; generate one with `openssl rand -hex 32`",
            Self::MIN
        );
        if self.is_required {
            return Err(ConfigError::new(
                place,
                format_args!("{text}, since PROXY_HOST lets other machines connect"),
            ));
        }
        warnings.push(format!("{place}: {text}"));
        Ok(())
    }
}

/// Reads the keys that are not disabled, and warns about keys in clear text.
pub(super) fn read_keys(
    field: Option<Field>,
    default_limit: Option<RateLimit>,
    key_length: KeyLength,
    warnings: &mut Vec<String>,
) -> Result<Keyring, ConfigError> {
    let (mut keyring, mut ids) = (Keyring::default(), BTreeSet::new());
    for item in field.map_or(Ok(Vec::new()), Field::items)? {
        let mut object = item.object()?;
        let place = object.place_of("id");
        let hash = read_hash(&mut object, key_length, warnings)?;
        // A disabled key is validated too, so that enabling it later cannot fail.
        let is_disabled = object.boolean("disabled", false)?;
        let client = read_client(&mut object, default_limit)?;
        object.end(KNOWN)?;
        // Buckets and logs are named by the id, so it is unique among disabled keys too.
        if !ids.insert(client.id.clone()) {
            return Err(ConfigError::new(&place, "another key has this id"));
        }
        if !is_disabled && !keyring.add(hash, client) {
            return Err(ConfigError::new(&place, "another id has the same key"));
        }
    }
    Ok(keyring)
}

/// The most bytes of a key's model patterns together: they travel in a header of each request, and Envoy limits all
/// headers of a request to 60 KiB by default.
const MAX_MODELS_BYTES: usize = 8 << 10;

fn read_client(
    object: &mut Object,
    default_limit: Option<RateLimit>,
) -> Result<Client, ConfigError> {
    let own_limit = object
        .take("rate_limit")
        .map(|field| read_limit(field, DEFAULT_LIMIT));
    let expires_at = object
        .take("expires_at")
        .map(|field| field.parsed("an RFC 3339 time", parse_time));
    let budget = object
        .take("budget")
        .map(|field| field.parsed(BUDGET, Budget::parse));
    let profile = object
        .take("profile")
        .map(|field| field.parsed("\"chat\" or \"agent\"", parse_profile));
    Ok(Client {
        id: object
            .require("id")?
            .parsed("a name of letters, digits and ._@-", parse_id)?
            .to_owned(),
        models: object.take("models").map(read_models).transpose()?,
        limit: own_limit.unwrap_or(Ok(default_limit))?,
        expires_at: expires_at.transpose()?,
        admin: object.boolean("admin", false)?,
        profile: profile.transpose()?,
        budget: budget.transpose()?,
        in_flight: Rc::default(),
    })
}

fn read_models(field: Field) -> Result<ModelPatterns, ConfigError> {
    let too_long = field.expected("at most 8192 bytes of patterns in all");
    let patterns = read_patterns(field)?;
    match patterns.as_str().len() {
        0..=MAX_MODELS_BYTES => Ok(patterns),
        _ => Err(too_long),
    }
}

fn read_hash(
    object: &mut Object,
    key_length: KeyLength,
    warnings: &mut Vec<String>,
) -> Result<KeyHash, ConfigError> {
    match (object.take("sha256"), object.take("key")) {
        (Some(hash), None) => hash.parsed("a SHA-256 as 64 hexadecimal digits", KeyHash::parse),
        (None, Some(key)) => {
            let place = object.place_of("key");
            warnings.push(format!(
                "{place}: readable in Envoy's /config_dump; configure `sha256` instead"
            ));
            let key = key.parsed("a key of visible ASCII", |key| {
                is_sendable(key).then(|| key.to_owned())
            })?;
            key_length.check(&place, &key, warnings)?;
            Ok(KeyHash::of(key.as_bytes()))
        }
        _ => Err(ConfigError::new(
            &object.place_of("sha256"),
            "expected either `sha256` or `key`",
        )),
    }
}

/// Whether a client can send the key as a bearer token.
pub(super) fn is_sendable(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic())
}

fn parse_id(text: &str) -> Option<&str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte);
    (!text.is_empty() && text.len() <= MAX_NAME_BYTES && text.bytes().all(is_plain)).then_some(text)
}

fn parse_time(text: &str) -> Option<SystemTime> {
    OffsetDateTime::parse(text, &Rfc3339)
        .ok()
        .map(SystemTime::from)
}

fn parse_profile(text: &str) -> Option<Profile> {
    match text {
        "chat" => Some(Profile::Chat),
        "agent" => Some(Profile::Agent),
        _ => None,
    }
}
