//! Arguments and environment that the children of both protocols share.
//! Settings are `-c key=value` arguments with the value in TOML, as Codex 0.42 and 0.169 read them.

use std::ffi::OsString;
use std::path::Path;

use serde_json::Value;

use crate::process::orphans;

/// Variables that a child inherits from the sidecar; `CODEX_ENV_PASSTHROUGH` adds to them.
const INHERITED: [&str; 18] = [
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    // An access token of a ChatGPT workspace, which Codex 0.169 and 0.171 use instead of the login in `auth.json`.
    "CODEX_ACCESS_TOKEN",
];

/// The variable that names a child's home.
pub(in crate::codex) const HOME_VARIABLE: &str = "CODEX_HOME";

/// Name of the provider that the sidecar defines when the operator forces none: OpenAI without stream retries.
const DEFAULT_PROVIDER: &str = "codex-edge";

/// Returns `COMMAND -c key=value -c ...`, the arguments that follow the program's name.
pub(in crate::codex) fn setting_arguments(
    command: &str,
    settings: impl IntoIterator<Item = (String, String)>,
) -> Vec<OsString> {
    let settings = settings
        .into_iter()
        .flat_map(|(key, value)| ["-c".to_owned(), format!("{key}={value}")]);
    std::iter::once(command.to_owned())
        .chain(settings)
        .map(OsString::from)
        .collect()
}

/// Returns a path as a TOML basic string. JSON's escapes are a subset of TOML's.
pub(in crate::codex) fn toml_string(path: &Path) -> String {
    Value::from(path.to_string_lossy()).to_string()
}

/// Returns the name of the provider `forced`, or of the sidecar's own.
pub(super) fn provider_name(forced: Option<&str>) -> &str {
    forced.unwrap_or(DEFAULT_PROVIDER)
}

/// Returns the settings of the provider `forced`, or of the sidecar's own.
///
/// Codex retries requests that fail before their first byte. It must not retry streams, because a retry repeats text.
pub(super) fn provider_settings(forced: Option<&str>) -> Vec<(String, String)> {
    let name = provider_name(forced);
    let key = |field: &str| format!("model_providers.{name}.{field}");
    let mut settings = vec![
        ("model_provider".to_owned(), format!("\"{name}\"")),
        (key("request_max_retries"), "2".into()),
        (key("stream_max_retries"), "0".into()),
    ];
    if forced.is_none() {
        settings.push((key("name"), "\"OpenAI\"".into()));
        settings.push((key("requires_openai_auth"), "true".into()));
        settings.push((key("wire_api"), "\"responses\"".into()));
    }
    settings
}

/// Returns the whole environment of a child: the inherited variables, its home, its temporary folder, its owner mark.
pub(super) fn environment(
    home: &Path,
    temporary: &Path,
    passthrough: &[String],
) -> Vec<(OsString, OsString)> {
    let mut environment: Vec<_> = INHERITED
        .into_iter()
        .chain(passthrough.iter().map(String::as_str))
        .filter_map(|name| Some((OsString::from(name), std::env::var_os(name)?)))
        .collect();
    // Last, so that they win over variables of the same name that the operator passes through.
    environment.push((HOME_VARIABLE.into(), home.into()));
    environment.push(("TMPDIR".into(), temporary.into()));
    environment.push((orphans::OWNER_ENV.into(), orphans::owner().into()));
    environment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn child_environment_has_only_listed_variables() {
        let environment = environment(
            Path::new("/home"),
            Path::new("/tmp"),
            &["CARGO_PKG_NAME".to_owned()],
        );
        let names: Vec<_> = environment
            .iter()
            .map(|(name, _)| name.to_str().unwrap())
            .collect();
        assert!(names.contains(&"CODEX_HOME"));
        assert!(names.contains(&"CARGO_PKG_NAME"), "passed through by name");
        assert!(!names.contains(&"CARGO_MANIFEST_DIR"), "{names:?}");
    }
}
