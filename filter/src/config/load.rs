//! The plugin's JSON and its environment, read into a validated [`Config`].
//! The fields are those of the README's table; a wrong or unknown one refuses the whole configuration.

use std::num::NonZeroU32;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use super::environment::{self, Environment};
use super::fields::{ConfigError, Field, Object};
use super::keys::read_keys;

use crate::auth::{Client, Keyring};
use crate::cors::{self, OriginPattern};
use crate::model::{Catalogue, Pattern, Patterns};
use crate::rate_limit::Limit;

/// What the filter has been told, checked whole.
#[derive(Debug)]
pub struct Config {
    /// Whether routes need a key at all.
    pub auth: Auth,
    /// Who may pass.
    pub keyring: Keyring,
    /// Which models there are.
    pub catalogue: Catalogue,
    /// Whether the model list needs a key.
    pub protect_models: bool,
    /// Which pages may read answers.
    pub cors: cors::Policy,
    /// How often an anonymous caller may start a turn where no key is needed.
    pub limit: Option<Limit>,
    /// How often callers from one address may come without a valid key.
    pub stranger_limit: Option<Limit>,
    /// Whether Envoy lets this filter hold the head back until the model is known:
    /// the plugin's `allow_on_headers_stop_iteration`, which a filter cannot find out by itself.
    pub hold_headers: bool,
    /// The longest body that passes.
    pub max_body_bytes: u64,
    /// Things that work and are better done otherwise, for the log.
    pub warnings: Vec<String>,
}

/// Who needs a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Every route that is not open.
    Keys,
    /// None: somebody else guards this Envoy. A valid key still says who calls.
    None,
}

pub(super) const KNOWN: &str = "auth, keys, models, default_model, protect_models, cors, rate_limit, \
    unauthenticated_rate_limit, hold_headers, max_body_bytes";

/// As many requests as an unset `rate_limit` allows a client, and the time in which they come back.
pub(super) const DEFAULT_LIMIT: (u64, u64) = (60, 60_000);
/// As many refusals as one address gets, and the time in which they come back.
pub(super) const DEFAULT_STRANGER_LIMIT: (u64, u64) = (300, 60_000);
/// 16 MiB, as much as the sidecar reads.
pub(super) const DEFAULT_MAX_BODY_BYTES: u64 = 16 << 20;
/// The longest window of a rate limit: a day.
const MAX_WINDOW_MS: u64 = 24 * 60 * 60 * 1000;
/// The longest id or model name.
pub(super) const MAX_NAME_BYTES: usize = 256;

impl Config {
    /// Reads the plugin's JSON (empty: as if `{}`), filled up from the environment. Keys that have run out by `now`
    /// are no use.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, by its place. Nothing passes then: the host keeps the configuration before,
    /// or does not start.
    pub fn load(
        json: &[u8],
        environment: &Environment,
        now: SystemTime,
    ) -> Result<Self, ConfigError> {
        let mut root = parse_root(json)?;
        environment::fill(&mut root, environment)?;
        let config = Self::read(Field::new("", Value::Object(root)).object()?)?;
        let is_usable = |client: &Client| client.expires_at.is_none_or(|end| now < end);
        if config.auth == Auth::Keys && !config.keyring.clients().any(is_usable) {
            return Err(ConfigError::new(
                "keys",
                "no usable key; set one, or PROXY_API_KEY, or write \"auth\": \"none\"",
            ));
        }
        Ok(config)
    }

    fn read(mut root: Object) -> Result<Self, ConfigError> {
        let limit = read_limit(root.require("rate_limit")?, DEFAULT_LIMIT)?;
        let stranger_limit = root
            .take("unauthenticated_rate_limit")
            .unwrap_or_else(Field::empty_object);
        let mut warnings = Vec::new();
        let config = Self {
            auth: root.take("auth").map_or(Ok(Auth::Keys), |field| {
                field.parsed("\"keys\" or \"none\"", parse_auth)
            })?,
            keyring: read_keys(root.take("keys"), limit, &mut warnings)?,
            catalogue: Catalogue {
                default_model: root
                    .take("default_model")
                    .map(|field| read_model(&field))
                    .transpose()?,
                models: read_patterns(root.require("models")?)?,
            },
            protect_models: root.boolean("protect_models", false)?,
            cors: read_cors(root.require("cors")?)?,
            limit,
            stranger_limit: read_limit(stranger_limit, DEFAULT_STRANGER_LIMIT)?,
            hold_headers: root.boolean("hold_headers", false)?,
            max_body_bytes: root.number(
                "max_body_bytes",
                DEFAULT_MAX_BODY_BYTES,
                1..=u64::from(u32::MAX),
            )?,
            warnings,
        };
        root.end(KNOWN)?;
        Ok(config)
    }
}

fn parse_root(json: &[u8]) -> Result<Map<String, Value>, ConfigError> {
    if json.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    let value = serde_json::from_slice(json).map_err(|error| {
        // serde_json's own words may repeat a value.
        ConfigError::new(
            "configuration",
            format_args!("not JSON, line {}, column {}", error.line(), error.column()),
        )
    })?;
    match value {
        Value::Object(mut root) => {
            // What is null is left out, so that the environment may fill it.
            root.retain(|_, value| !value.is_null());
            Ok(root)
        }
        other => Err(Field::new("configuration", other).expected("an object")),
    }
}

fn parse_auth(text: &str) -> Option<Auth> {
    match text {
        "keys" => Some(Auth::Keys),
        "none" => Some(Auth::None),
        _ => None,
    }
}

const MODEL: &str = "a model id of visible ASCII without commas";

pub(super) fn read_limit(field: Field, default: (u64, u64)) -> Result<Option<Limit>, ConfigError> {
    let mut object = field.object()?;
    let is_enabled = object.boolean("enabled", true)?;
    let requests = object.number("requests", default.0, 1..=1_000_000)?;
    let window_ms = object.number("window_ms", default.1, 1..=MAX_WINDOW_MS)?;
    object.end("enabled, requests, window_ms")?;
    let requests = u32::try_from(requests)
        .ok()
        .and_then(NonZeroU32::new)
        .filter(|_| is_enabled);
    Ok(requests.map(|requests| Limit::new(requests, Duration::from_millis(window_ms))))
}

fn read_cors(field: Field) -> Result<cors::Policy, ConfigError> {
    let mut object = field.object()?;
    let is_enabled = object.boolean("enabled", true)?;
    let origins = object
        .take("allowed_origins")
        .map_or(Ok(cors::Policy::Any), read_origins)?;
    object.end("enabled, allowed_origins")?;
    Ok(if is_enabled {
        origins
    } else {
        cors::Policy::Off
    })
}

fn read_origins(field: Field) -> Result<cors::Policy, ConfigError> {
    let expected = "an origin such as https://app.example or http://localhost:*, or \"*\"";
    let mut patterns = Vec::new();
    for item in field.items()? {
        if item.text()? == "*" {
            return Ok(cors::Policy::Any);
        }
        patterns.push(item.parsed(expected, OriginPattern::parse)?);
    }
    Ok(cors::Policy::Allow(patterns))
}

pub(super) fn read_patterns(field: Field) -> Result<Patterns, ConfigError> {
    let none = field.expected("at least one model id or pattern");
    let items = field.items()?;
    if items.is_empty() {
        return Err(none);
    }
    items
        .iter()
        .map(|item| item.parsed(MODEL, |text| parse_name(text).and_then(Pattern::parse)))
        .collect()
}

fn read_model(field: &Field) -> Result<String, ConfigError> {
    field.parsed(MODEL, parse_name).map(str::to_owned)
}

fn parse_name(text: &str) -> Option<&str> {
    (Pattern::parse(text).is_some() && text.len() <= MAX_NAME_BYTES).then_some(text)
}
