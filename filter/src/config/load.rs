//! The configuration as a whole.

use std::hash::{DefaultHasher, Hasher};
use std::rc::Rc;
use std::time::SystemTime;

use serde_json::{Map, Value};

use super::environment::{self, Environment};
use super::fields::{ConfigError, Field, Object};
use super::keys::{KeyLength, read_keys};
use super::values::{
    Auth, DEFAULT_LIMIT, DEFAULT_UNAUTHENTICATED_LIMIT, parse_auth, read_cors, read_limit,
    read_model, read_patterns,
};
use crate::auth::{Client, Keyring};
use crate::cors::CorsPolicy;
use crate::in_flight::{InFlightAccount, InFlightLimits};
use crate::model::Catalogue;
use crate::rate_limit::RateLimit;

/// The validated configuration of the filter.
#[derive(Debug)]
pub struct Config {
    /// Whether routes need an API key at all.
    pub auth: Auth,
    /// The clients and their keys.
    pub keyring: Keyring,
    /// The models that exist.
    pub catalogue: Catalogue,
    /// Whether the model list needs an API key.
    pub protect_models: bool,
    /// The origins that may read responses.
    pub cors: CorsPolicy,
    /// The limit of turns for an unauthenticated client, where `auth` is `none`.
    pub limit: Option<RateLimit>,
    /// The limit of rejections for requests without a valid key from one address.
    pub unauthenticated_limit: Option<RateLimit>,
    /// Whether Envoy lets the filter hold the head until the model is known: the plugin's
    /// `allow_on_headers_stop_iteration`, which a filter cannot read.
    pub hold_headers: bool,
    /// The longest request body in bytes.
    pub max_body_bytes: u64,
    /// The limits of requests in flight, and the requests of this worker.
    pub in_flight: InFlightAccount,
    /// The hash of the JSON, by which workers recognise the same configuration.
    pub fingerprint: u64,
    /// Warnings about a valid configuration, for the log.
    pub warnings: Vec<String>,
}

/// The fields of a configuration, as error messages list them.
pub(super) const KNOWN: &str = "auth, keys, models, default_model, protect_models, cors, rate_limit, \
    unauthenticated_rate_limit, hold_headers, max_body_bytes, max_client_requests, max_held_body_bytes";

/// The default of `max_body_bytes`: 16 MiB, the sidecar's own limit.
pub(super) const DEFAULT_MAX_BODY_BYTES: u64 = 16 << 20;

/// The default of `max_client_requests`: more than the sidecar runs and queues by default for all clients.
pub(super) const DEFAULT_MAX_CLIENT_REQUESTS: u64 = 256;

/// The default of `max_held_body_bytes`: 128 MiB, with four workers a quarter of the heap that `envoy.yaml` allows.
pub(super) const DEFAULT_MAX_HELD_BODY_BYTES: u64 = 128 << 20;

impl Config {
    /// Reads the plugin's JSON, completed from the environment. An empty text counts as `{}`; keys that have expired by
    /// `now` are not usable.
    ///
    /// # Errors
    ///
    /// The first mistake, with its place. Envoy then keeps the previous configuration, or does not start.
    pub fn load(
        json: &[u8],
        environment: &Environment,
        now: SystemTime,
    ) -> Result<Self, ConfigError> {
        let mut root = parse_root(json)?;
        let mut warnings = Vec::new();
        let key_length = KeyLength {
            is_required: environment::is_public(environment),
        };
        environment::fill(&mut root, environment, key_length, &mut warnings)?;
        let root = Field::new("", Value::Object(root)).object()?;
        let config = Self {
            fingerprint: fingerprint(json),
            ..Self::read(root, key_length, warnings)?
        };
        let is_usable = |client: &Client| client.expires_at.is_none_or(|end| now < end);
        // Without a usable key every request would be rejected; a typo must not take a gateway down unnoticed.
        if config.auth == Auth::Keys && !config.keyring.clients().any(is_usable) {
            return Err(ConfigError::new(
                "keys",
                "no usable key; set one, or PROXY_API_KEY, or write \"auth\": \"none\"",
            ));
        }
        Ok(config)
    }

    /// Continues the counts of a previous configuration of this worker.
    pub fn adopt_in_flight(&mut self, previous: &Self) {
        self.in_flight.all = Rc::clone(&previous.in_flight.all);
        self.in_flight.without_key = Rc::clone(&previous.in_flight.without_key);
        self.keyring.adopt_in_flight(&previous.keyring);
    }

    fn read(
        mut root: Object,
        key_length: KeyLength,
        mut warnings: Vec<String>,
    ) -> Result<Self, ConfigError> {
        let limit = read_limit(root.require("rate_limit")?, DEFAULT_LIMIT)?;
        let unauthenticated_limit = root
            .take("unauthenticated_rate_limit")
            .unwrap_or_else(Field::empty_object);
        let auth = root.take("auth").map_or(Ok(Auth::Keys), |field| {
            field.parsed("\"keys\" or \"none\"", parse_auth)
        })?;
        let max_body_bytes = root.number(
            "max_body_bytes",
            DEFAULT_MAX_BODY_BYTES,
            1..=u64::from(u32::MAX),
        )?;
        let config = Self {
            auth,
            keyring: read_keys(root.take("keys"), limit, key_length, &mut warnings)?,
            catalogue: Catalogue {
                default_model: root
                    .take("default_model")
                    .map(|field| read_model(&field))
                    .transpose()?,
                models: root.take("models").map(read_patterns).transpose()?,
            },
            protect_models: root.boolean("protect_models", false)?,
            cors: read_cors(root.require("cors")?, auth)?,
            limit,
            unauthenticated_limit: read_limit(
                unauthenticated_limit,
                DEFAULT_UNAUTHENTICATED_LIMIT,
            )?,
            hold_headers: root.boolean("hold_headers", false)?,
            max_body_bytes,
            fingerprint: 0,
            in_flight: InFlightAccount::new(read_in_flight(&mut root, max_body_bytes)?),
            warnings,
        };
        root.end(KNOWN)?;
        Ok(config)
    }
}

fn fingerprint(json: &[u8]) -> u64 {
    // Not with a random key: all workers must arrive at the same number.
    let mut hasher = DefaultHasher::new();
    hasher.write(json);
    hasher.finish()
}

fn read_in_flight(root: &mut Object, max_body_bytes: u64) -> Result<InFlightLimits, ConfigError> {
    let client_requests = root.number(
        "max_client_requests",
        DEFAULT_MAX_CLIENT_REQUESTS,
        1..=1_000_000,
    )?;
    let held_bytes = root.number(
        "max_held_body_bytes",
        DEFAULT_MAX_HELD_BODY_BYTES,
        1..=1 << 40,
    )?;
    Ok(InFlightLimits {
        client_requests,
        // The smallest that admits the largest body to an idle worker: one client gets half.
        held_bytes: held_bytes.max(2 * max_body_bytes),
    })
}

fn parse_root(json: &[u8]) -> Result<Map<String, Value>, ConfigError> {
    if json.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    let value = serde_json::from_slice(json).map_err(|error| {
        // serde_json's message may contain a value, which may be a key; the position does not.
        ConfigError::new(
            "configuration",
            format_args!("not JSON, line {}, column {}", error.line(), error.column()),
        )
    })?;
    match value {
        Value::Object(mut root) => {
            // A null field counts as absent, so that the environment can fill it.
            root.retain(|_, value| !value.is_null());
            Ok(root)
        }
        other => Err(Field::new("configuration", other).expected("an object")),
    }
}
