//! The head of a response: additional headers, and Codex's rate limits in its own headers.
//! The names are those that Codex 0.169.0 (`-reset-at`) and 0.42.0 (`-reset-after-seconds`) read.

use std::collections::HashMap;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::de::{Error as _, Unexpected};
use serde::{Deserialize, Deserializer};

/// Headers of a scripted response, in addition to those of every response.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ResponseHead {
    #[serde(deserialize_with = "parse_headers")]
    headers: HeaderMap,
    rate_limits: RateLimits,
}

/// The two rate limit windows of a Codex plan.
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

impl ResponseHead {
    /// Adds the headers to those of a response.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        headers.extend(self.headers.clone());
        for (name, window) in [
            ("primary", &self.rate_limits.primary),
            ("secondary", &self.rate_limits.secondary),
        ] {
            if let Some(window) = window {
                window.write(name, headers);
            }
        }
    }
}

impl Window {
    fn write(&self, name: &str, headers: &mut HeaderMap) {
        let mut set = |suffix: &str, value: String| {
            let header = HeaderName::try_from(format!("x-codex-{name}-{suffix}"))
                .expect("the names are lower-case ASCII");
            let value = HeaderValue::try_from(value).expect("a number is ASCII");
            headers.insert(header, value);
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

fn parse_headers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HeaderMap, D::Error> {
    let headers = HashMap::<String, String>::deserialize(deserializer)?;
    HeaderMap::try_from(&headers).map_err(D::Error::custom)
}

/// Reads a status and accepts only 4xx and 5xx.
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
