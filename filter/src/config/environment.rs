//! The environment variables that fill absent fields of the plugin's JSON, converted to the JSON that they stand for.
//! Names and meanings are the sidecar's, so that both can be started from one environment file.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::fields::ConfigError;
use super::keys::{KeyLength, is_sendable};
use crate::budget::Budget;

/// Environment variables by name.
pub type Environment = BTreeMap<String, String>;

/// Whether others than this machine's users reach the public listener, as far as `PROXY_HOST` tells. Without the variable
/// the filter does not know its listener's address.
pub(super) fn is_public(environment: &Environment) -> bool {
    let host = Reader(environment).text("PROXY_HOST");
    let is_loopback = |host: &str| {
        let address: Result<IpAddr, _> = host.parse();
        address.map_or(host == "localhost", |address| address.is_loopback())
    };
    host.is_some_and(|host| !is_loopback(host))
}

/// Fills the absent fields of `json`.
pub(super) fn fill(
    json: &mut Map<String, Value>,
    environment: &Environment,
    key_length: KeyLength,
    warnings: &mut Vec<String>,
) -> Result<(), ConfigError> {
    let environment = Reader(environment);
    // Also without a key, for which the variable has no effect, so that a mistake is found.
    let budget = environment.budget("PROXY_BUDGET")?;
    if let Some(key) = environment.key("PROXY_API_KEY")? {
        key_length.check("PROXY_API_KEY", key, warnings)?;
        add_key(json, key, budget);
    }
    fill_field(
        json,
        "protect_models",
        environment.boolean("PROXY_PROTECT_MODELS")?,
    );
    fill_fields(
        json,
        "cors",
        [
            ("enabled", environment.boolean("PROXY_ENABLE_CORS")?),
            (
                "allowed_origins",
                environment.list("PROXY_CORS_ALLOWED_ORIGINS"),
            ),
        ],
    );
    // A limit in the JSON is on by default; one that only the environment describes must be enabled there.
    let is_written = Some(json!(json.contains_key("rate_limit")));
    fill_fields(
        json,
        "rate_limit",
        [
            (
                "enabled",
                environment
                    .boolean("PROXY_RATE_LIMIT_ENABLED")?
                    .or(is_written),
            ),
            ("requests", environment.number("PROXY_RATE_LIMIT_MAX")?),
            (
                "window_ms",
                environment.number("PROXY_RATE_LIMIT_WINDOW_MS")?,
            ),
        ],
    );
    Ok(())
}

/// Adds the key of the environment, with its budget, as that of the client `default`, unless the JSON has a client of this name.
fn add_key(json: &mut Map<String, Value>, key: &str, budget: Option<&str>) {
    let keys = json.entry("keys").or_insert_with(|| json!([]));
    if let Value::Array(keys) = keys
        && !keys
            .iter()
            .any(|key| key.get("id").and_then(Value::as_str) == Some("default"))
    {
        let hash = hex::encode(Sha256::digest(key));
        keys.push(json!({"id": "default", "sha256": hash, "budget": budget}));
    }
}

/// Writes the absent fields of an object, which is created if it is absent. Any other value is left for the rejection.
fn fill_fields<const N: usize>(
    json: &mut Map<String, Value>,
    name: &str,
    fields: [(&str, Option<Value>); N],
) {
    if let Value::Object(object) = json.entry(name).or_insert_with(|| json!({})) {
        for (name, value) in fields {
            fill_field(object, name, value);
        }
    }
}

fn fill_field(object: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    if let Some(value) = value
        && object.get(name).is_none_or(Value::is_null)
    {
        object.insert(name.to_owned(), value);
    }
}

/// Reads variables as strictly as the JSON is read. An empty variable counts as absent.
struct Reader<'a>(&'a Environment);

impl<'a> Reader<'a> {
    fn text(&self, name: &str) -> Option<&'a str> {
        self.0
            .get(name)
            .map(|value| value.trim())
            .filter(|value| !value.is_empty())
    }

    fn key(&self, name: &str) -> Result<Option<&'a str>, ConfigError> {
        match self.text(name) {
            Some(key) if !is_sendable(key) => Err(ConfigError::new(
                name,
                "expected visible ASCII without spaces, found other text",
            )),
            key => Ok(key),
        }
    }

    fn boolean(&self, name: &str) -> Result<Option<Value>, ConfigError> {
        let read = |value: &str| match value.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(json!(true)),
            "false" | "0" | "no" | "off" => Ok(json!(false)),
            _ => Err(ConfigError::new(
                name,
                "expected true or false, found other text",
            )),
        };
        self.text(name).map(read).transpose()
    }

    fn budget(&self, name: &str) -> Result<Option<&'a str>, ConfigError> {
        match self.text(name) {
            Some(budget) if Budget::parse(budget).is_none() => Err(ConfigError::new(
                name,
                "expected limits such as day=200000,month.output=5000000 in tokens, found other text",
            )),
            budget => Ok(budget),
        }
    }

    fn number(&self, name: &str) -> Result<Option<Value>, ConfigError> {
        let expected = |_| ConfigError::new(name, "expected a whole number, found other text");
        self.text(name)
            .map(|value| {
                value
                    .parse::<u64>()
                    .map(|number| json!(number))
                    .map_err(expected)
            })
            .transpose()
    }

    fn list(&self, name: &str) -> Option<Value> {
        self.text(name).map(|value| {
            value
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .collect()
        })
    }
}
