//! The values that occur in several places of a configuration: limits, origins, models.

use std::num::NonZeroU32;
use std::time::Duration;

use super::fields::{ConfigError, Field};
use crate::cors::{CorsPolicy, OriginPattern};
use crate::model::{ModelPattern, ModelPatterns};
use crate::rate_limit::RateLimit;

/// The defaults of a `rate_limit`: requests, and the window in milliseconds.
pub(super) const DEFAULT_LIMIT: (u64, u64) = (60, 60_000);
/// The defaults of `unauthenticated_rate_limit`: requests, and the window in milliseconds.
pub(super) const DEFAULT_UNAUTHENTICATED_LIMIT: (u64, u64) = (300, 60_000);
/// The longest window of a rate limit: a day.
const MAX_WINDOW_MS: u64 = 24 * 60 * 60 * 1000;
/// The longest client id or model name in bytes.
pub(super) const MAX_NAME_BYTES: usize = 256;

const MODEL: &str = "a model id of visible ASCII without commas";

/// Reads a rate limit; `None` if it is disabled.
pub(super) fn read_limit(
    field: Field,
    (default_requests, default_window_ms): (u64, u64),
) -> Result<Option<RateLimit>, ConfigError> {
    let mut object = field.object()?;
    let is_enabled = object.boolean("enabled", true)?;
    let requests = object.number("requests", default_requests, 1..=1_000_000)?;
    let window_ms = object.number("window_ms", default_window_ms, 1..=MAX_WINDOW_MS)?;
    object.end("enabled, requests, window_ms")?;
    // Read before `enabled` is applied, so that a mistake in a disabled limit is reported too.
    let requests = u32::try_from(requests)
        .ok()
        .and_then(NonZeroU32::new)
        .filter(|_| is_enabled);
    Ok(requests.map(|requests| RateLimit::new(requests, Duration::from_millis(window_ms))))
}

/// The requirement of API keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Every route that is not open needs a key.
    Keys,
    /// No route needs a key, because another proxy guards this Envoy. A valid key still identifies its client.
    None,
}

/// Reads `cors`.
///
/// Without keys, the origin alone tells a page from the operator's own programs: pages need an explicit list then.
pub(super) fn read_cors(field: Field, auth: Auth) -> Result<CorsPolicy, ConfigError> {
    let mut object = field.object()?;
    let is_enabled = object.boolean("enabled", true)?;
    let place = object.place_of("allowed_origins");
    let default = match auth {
        Auth::Keys => CorsPolicy::Any,
        Auth::None => CorsPolicy::Allow(Vec::new()),
    };
    let origins = object
        .take("allowed_origins")
        .map_or(Ok(default), read_origins)?;
    if is_enabled && auth == Auth::None && matches!(origins, CorsPolicy::Any) {
        return Err(ConfigError::new(
            &place,
            "with \"auth\": \"none\", list the origins of the pages instead of \"*\"",
        ));
    }
    object.end("enabled, allowed_origins")?;
    Ok(if is_enabled { origins } else { CorsPolicy::Off })
}

fn read_origins(field: Field) -> Result<CorsPolicy, ConfigError> {
    let expected = "an origin such as https://app.example or http://localhost:*, or \"*\"";
    let mut patterns = Vec::new();
    for item in field.items()? {
        if item.text()? == "*" {
            return Ok(CorsPolicy::Any);
        }
        patterns.push(item.parsed(expected, OriginPattern::parse)?);
    }
    Ok(CorsPolicy::Allow(patterns))
}

/// Reads a list of at least one model pattern.
pub(super) fn read_patterns(field: Field) -> Result<ModelPatterns, ConfigError> {
    let empty = field.expected("at least one model id or pattern");
    let items = field.items()?;
    if items.is_empty() {
        return Err(empty);
    }
    items
        .iter()
        .map(|item| item.parsed(MODEL, |text| parse_name(text).and_then(ModelPattern::parse)))
        .collect()
}

/// Reads a model id.
pub(super) fn read_model(field: &Field) -> Result<String, ConfigError> {
    field.parsed(MODEL, parse_name).map(str::to_owned)
}

fn parse_name(text: &str) -> Option<&str> {
    (ModelPattern::parse(text).is_some() && text.len() <= MAX_NAME_BYTES).then_some(text)
}

pub(super) fn parse_auth(text: &str) -> Option<Auth> {
    match text {
        "keys" => Some(Auth::Keys),
        "none" => Some(Auth::None),
        _ => None,
    }
}
