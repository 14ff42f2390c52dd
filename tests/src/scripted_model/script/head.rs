//! The head of an answer: status, header fields, and the plan's rate limits in Codex's own fields.
//! The field names are those that Codex 0.169.0 (`-reset-at`) and 0.42.0 (`-reset-after-seconds`) read.

use std::collections::HashMap;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::de::{Error as _, Unexpected};
use serde::{Deserialize, Deserializer};

/// Header fields that an answer has beside its own.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Head {
    #[serde(deserialize_with = "header_fields")]
    headers: HeaderMap,
    rate_limits: RateLimits,
}

/// The two windows of a Codex plan.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RateLimits {
    primary: Option<Window>,
    secondary: Option<Window>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Window {
    used_percent: f64,
    window_minutes: u64,
    /// Seconds since the epoch.
    resets_at: Option<u64>,
    resets_in_seconds: Option<u64>,
}

impl Head {
    /// Adds the fields to the head of an answer.
    pub(crate) fn write(&self, fields: &mut HeaderMap) {
        fields.extend(self.headers.clone());
        for (name, window) in [
            ("primary", &self.rate_limits.primary),
            ("secondary", &self.rate_limits.secondary),
        ] {
            if let Some(window) = window {
                window.write(name, fields);
            }
        }
    }
}

impl Window {
    fn write(&self, name: &str, fields: &mut HeaderMap) {
        let mut set = |field: &str, value: String| {
            let field = HeaderName::try_from(format!("x-codex-{name}-{field}"))
                .expect("the names are lower-case ASCII");
            let value = HeaderValue::try_from(value).expect("a number is ASCII");
            fields.insert(field, value);
        };
        set("used-percent", self.used_percent.to_string());
        set("window-minutes", self.window_minutes.to_string());
        if let Some(at) = self.resets_at {
            set("reset-at", at.to_string());
        }
        if let Some(seconds) = self.resets_in_seconds {
            set("reset-after-seconds", seconds.to_string());
        }
    }
}

fn header_fields<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HeaderMap, D::Error> {
    let fields = HashMap::<String, String>::deserialize(deserializer)?;
    HeaderMap::try_from(&fields).map_err(D::Error::custom)
}

/// Reads a status that says that something is wrong.
pub(crate) fn error_status<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<StatusCode, D::Error> {
    let number = u16::deserialize(deserializer)?;
    StatusCode::from_u16(number)
        .ok()
        .filter(|status| status.is_client_error() || status.is_server_error())
        .ok_or_else(|| {
            D::Error::invalid_value(Unexpected::Unsigned(number.into()), &"an error status")
        })
}
