//! The kind of Codex's login, and a warning for a ChatGPT login that others can use.
//! The source is `codex login status` of Codex 0.169 and 0.171; the sidecar's `codex/launch/login.rs` reads the same.

use std::fmt;
use std::net::Ipv4Addr;

use serde_json::Value;

/// Advice for a ChatGPT login that others can use, as the sidecar gives it.
const PERSONAL_LOGIN: &str = "a ChatGPT login is for its owner alone, and OpenAI's terms forbid making the account available to others; for several people use an API key (`codex login --with-api-key`) or CODEX_ACCESS_TOKEN";

/// The id of the client with the key in `PROXY_API_KEY`.
const DEFAULT_CLIENT: &str = "default";

/// The credential that turns are billed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginKind {
    /// A person's ChatGPT plan.
    ChatGpt,
    /// An access token of a ChatGPT workspace.
    AccessToken,
    /// A key of the OpenAI API.
    ApiKey,
}

impl LoginKind {
    /// Parses the output of a successful `codex login status`.
    pub(super) fn parse(status: &str) -> Self {
        if status.contains("ChatGPT") {
            Self::ChatGpt
        } else if status.contains("access token") || status.contains("workload identity") {
            Self::AccessToken
        } else {
            Self::ApiKey
        }
    }

    /// Returns a warning if others can use a ChatGPT login: through the public listener on `host`, or with one of several
    /// `keys`.
    pub(super) fn warning(self, host: Ipv4Addr, keys: usize) -> Option<String> {
        let cause = match self {
            Self::ChatGpt if !host.is_loopback() => format!("PROXY_HOST is {host}"),
            Self::ChatGpt if keys > 1 => format!("{keys} API keys are enabled"),
            Self::ChatGpt | Self::AccessToken | Self::ApiKey => return None,
        };
        Some(format!("{cause}: {PERSONAL_LOGIN}"))
    }
}

impl fmt::Display for LoginKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ChatGpt => "ChatGPT plan",
            Self::AccessToken => "access token",
            Self::ApiKey => "API key",
        })
    }
}

/// Returns the number of enabled keys: those in the filter's JSON inside the text of `filter.yaml`, and the one in
/// `PROXY_API_KEY`, which `up` always sets.
pub(super) fn enabled_keys(filter_yaml: &str) -> usize {
    let json = filter_yaml.lines().find_map(|line| {
        let quoted = line.trim().strip_prefix("value: '")?;
        // YAML writes an apostrophe in single quotes twice.
        Some(quoted.strip_suffix('\'')?.replace("''", "'"))
    });
    let config: Value = json
        .and_then(|json| serde_json::from_str(&json).ok())
        .unwrap_or_default();
    let keys = config.get("keys").and_then(Value::as_array);
    let is_other = |key: &&Value| {
        key.get("disabled") != Some(&Value::Bool(true))
            && key.get("id").and_then(Value::as_str) != Some(DEFAULT_CLIENT)
    };
    1 + keys.into_iter().flatten().filter(is_other).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kind_is_read_from_the_status() {
        for (status, expected) in [
            ("Logged in using ChatGPT", LoginKind::ChatGpt),
            ("Logged in using an API key - sk-a***z", LoginKind::ApiKey),
            (
                "Logged in using personal access token",
                LoginKind::AccessToken,
            ),
        ] {
            assert_eq!(LoginKind::parse(status), expected);
        }
    }

    #[test]
    fn chatgpt_login_within_reach_of_others_is_warned_about() {
        for (kind, host, keys, part) in [
            (LoginKind::ChatGpt, "127.0.0.1", 1, None),
            (
                LoginKind::ChatGpt,
                "0.0.0.0",
                1,
                Some("PROXY_HOST is 0.0.0.0: "),
            ),
            (
                LoginKind::ChatGpt,
                "127.0.0.1",
                2,
                Some("2 API keys are enabled: "),
            ),
            (LoginKind::ApiKey, "0.0.0.0", 2, None),
            (LoginKind::AccessToken, "0.0.0.0", 2, None),
        ] {
            let warning = kind.warning(host.parse().unwrap(), keys);
            let expected = part.map(|part| format!("{part}{PERSONAL_LOGIN}"));
            assert_eq!(warning, expected, "{kind} {host} {keys}");
        }
    }

    #[test]
    fn enabled_keys_of_the_filter_are_counted() {
        let shipped = include_str!("../../../envoy/filter.yaml");
        assert_eq!(enabled_keys(shipped), 1, "the key of the environment");
        let with_keys = shipped.replace(
            r#"value: '{"hold_headers": true}'"#,
            r#"value: '{"keys": [{"id": "ann"}, {"id": "bob", "disabled": true}, {"id": "default"}]}'"#,
        );
        assert_eq!(enabled_keys(&with_keys), 2);
    }
}
