//! Tests of loading: accepted configurations, and the message for each mistake.

use std::num::NonZeroU32;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use sha2::{Digest, Sha256};

use crate::auth::Profile;
use crate::config::{Auth, Config, ConfigError, Environment};
use crate::cors::CorsPolicy;
use crate::rate_limit::RateLimit;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_hours(24 * 365 * 50)
}

fn environment(variables: &[(&str, &str)]) -> Environment {
    variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn load(json: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::load(json.as_bytes(), &environment(variables), now())
}

const KEY: (&str, &str) = ("PROXY_API_KEY", "secret-from-env");

#[test]
fn api_key_in_the_environment_is_sufficient() {
    let config = load("", &[KEY]).unwrap();
    let client = config
        .keyring
        .client(b"secret-from-env", || Some(now()))
        .unwrap();
    assert_eq!(
        (client.id.as_str(), client.admin, client.limit),
        ("default", false, None)
    );
    assert_eq!(config.auth, Auth::Keys);
    assert!(matches!(config.cors, CorsPolicy::Any));
    assert!(!config.protect_models && !config.hold_headers);
    assert_eq!((config.limit, config.max_body_bytes), (None, 16 << 20));
    assert!(config.unauthenticated_limit.is_some());
    assert_eq!(config.catalogue.models, None);
    assert_eq!(config.catalogue.default_model, None);
}

#[test]
fn variables_fill_absent_fields_only() {
    let variables = [
        KEY,
        ("PROXY_PROTECT_MODELS", "Yes"),
        ("PROXY_ENABLE_CORS", "off"),
        ("PROXY_RATE_LIMIT_ENABLED", "1"),
        ("PROXY_RATE_LIMIT_MAX", "7"),
        ("PROXY_RATE_LIMIT_WINDOW_MS", "7000"),
        ("UNRELATED", "x"),
    ];
    let config = load("{}", &variables).unwrap();
    let limit = RateLimit::new(NonZeroU32::new(7).unwrap(), Duration::from_secs(7));
    assert_eq!(config.limit, Some(limit));
    assert_eq!(
        config
            .keyring
            .clients()
            .map(|client| client.limit)
            .collect::<Vec<_>>(),
        [Some(limit)]
    );
    assert!(config.protect_models && matches!(config.cors, CorsPolicy::Off));

    let json = r#"{"protect_models": false, "models": ["only-this"], "cors": {"enabled": true},
        "rate_limit": {"requests": 9}, "keys": [{"id": "default", "key": "secret-from-json"}]}"#;
    let config = load(json, &variables).unwrap();
    assert!(!config.protect_models && matches!(config.cors, CorsPolicy::Any));
    let models = config.catalogue.models.unwrap();
    assert_eq!(models.as_str(), "only-this");
    assert_eq!(config.catalogue.default_model, None);
    assert_eq!(
        config.limit,
        Some(RateLimit::new(
            NonZeroU32::new(9).unwrap(),
            Duration::from_secs(7)
        ))
    );
    assert!(
        config
            .keyring
            .client(b"secret-from-json", || Some(now()))
            .is_some()
    );
    assert!(
        config
            .keyring
            .client(b"secret-from-env", || Some(now()))
            .is_none()
    );
}

#[test]
fn empty_variable_counts_as_absent() {
    let variables = [
        KEY,
        ("PROXY_RATE_LIMIT_MAX", ""),
        ("PROXY_PROTECT_MODELS", " "),
        ("PROXY_ENABLE_CORS", ""),
    ];
    let config = load("", &variables).unwrap();
    assert!(!config.protect_models && config.limit.is_none());
    assert!(load("", &[("PROXY_API_KEY", "")]).is_err());
}

#[test]
fn null_counts_as_absent() {
    let json = r#"{"keys": null, "models": null, "cors": null, "rate_limit": {"requests": null, "enabled": null}}"#;
    let variables = [
        KEY,
        ("PROXY_RATE_LIMIT_MAX", "7"),
        ("PROXY_RATE_LIMIT_ENABLED", "true"),
    ];
    let config = load(json, &variables).unwrap();
    assert_eq!(
        config.limit,
        Some(RateLimit::new(
            NonZeroU32::new(7).unwrap(),
            Duration::from_secs(60)
        ))
    );
    assert_eq!(config.catalogue.models, None);
}

#[test]
fn origins_are_read_from_json_or_environment() {
    let variables = [
        KEY,
        (
            "PROXY_CORS_ALLOWED_ORIGINS",
            "http://localhost:*, app://obsidian.md,",
        ),
    ];
    let CorsPolicy::Allow(origins) = load("", &variables).unwrap().cors else {
        panic!("not a list")
    };
    assert_eq!(origins.len(), 2);
    let json = r#"{"cors": {"allowed_origins": ["https://a.example", "*"]}}"#;
    assert!(matches!(
        load(json, &variables).unwrap().cors,
        CorsPolicy::Any
    ));
    let json = r#"{"cors": {"allowed_origins": []}}"#;
    assert!(
        matches!(load(json, &[KEY]).unwrap().cors, CorsPolicy::Allow(origins) if origins.is_empty())
    );
}

#[test]
fn key_accepts_every_optional_field() {
    let json = r#"{"keys": [
        {"id": "full", "sha256": "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae", "models": ["codex-5*"],
         "rate_limit": {"requests": 2, "window_ms": 2000.0}, "expires_at": "2100-01-01T00:00:00+02:00", "disabled": false,
         "admin": true, "profile": "chat"},
        {"id": "plain", "key": "abc", "rate_limit": {"enabled": false}}],
        "rate_limit": {"requests": 5}}"#;
    let config = load(json, &[]).unwrap();
    let full = config.keyring.client(b"foo", || Some(now())).unwrap();
    assert!(
        full.admin
            && full.profile == Some(Profile::Chat)
            && full
                .models
                .as_ref()
                .is_some_and(|models| models.as_str() == "codex-5*")
    );
    assert_eq!(
        full.limit,
        Some(RateLimit::new(
            NonZeroU32::new(2).unwrap(),
            Duration::from_secs(2)
        ))
    );
    assert_eq!(
        full.expires_at,
        Some(SystemTime::UNIX_EPOCH + Duration::from_secs(4_102_437_600))
    );
    assert_eq!(
        config.keyring.client(b"abc", || Some(now())).unwrap().limit,
        None
    );
    assert_eq!(
        config.warnings,
        [
            "keys[1].key: readable in Envoy's /config_dump; configure `sha256` instead",
            "keys[1].key: shorter than 16 characters; generate one with `openssl rand -hex 32`",
        ]
    );
}

#[test]
fn short_key_is_an_error_where_other_machines_can_connect() {
    const LONG: &str = "0123456789abcdef";
    let in_json = |key: &str| format!(r#"{{"keys": [{{"id": "a", "key": "{key}"}}]}}"#);
    let short = &LONG[1..];
    for host in ["127.0.0.1", "127.8.8.8", "::1", "localhost", ""] {
        let config = load("", &[("PROXY_API_KEY", short), ("PROXY_HOST", host)]).unwrap();
        let warning = &config.warnings[0];
        assert!(warning.starts_with("PROXY_API_KEY: shorter"), "{warning}");
        let config = load(&in_json(short), &[("PROXY_HOST", host)]).unwrap();
        assert_eq!(config.warnings.len(), 2, "{:?}", config.warnings);
    }
    for host in ["0.0.0.0", "192.0.2.1", "::", "edge.example"] {
        let host = ("PROXY_HOST", host);
        for (json, key, place) in [
            (String::new(), short, "PROXY_API_KEY"),
            (in_json(short), "", "keys[0].key"),
        ] {
            let error = load(&json, &[("PROXY_API_KEY", key), host]).unwrap_err();
            let expected = format!("{place}: shorter than 16 characters");
            assert!(error.to_string().starts_with(&expected), "{error}");
        }
        assert!(load("", &[("PROXY_API_KEY", LONG), host]).is_ok());
        assert!(load(&in_json(LONG), &[host]).is_ok());
    }
}

#[test]
fn each_mistake_is_reported_with_its_place() {
    let cases = [
        (
            "",
            "keys: no usable key; set one, or PROXY_API_KEY, or write \"auth\": \"none\"",
        ),
        (
            r#"{"keys": []}"#,
            "keys: no usable key; set one, or PROXY_API_KEY, or write \"auth\": \"none\"",
        ),
        (
            r#"{"keys": [{"id": "a", "key": "k", "disabled": true}]}"#,
            "keys: no usable key; set one, or PROXY_API_KEY, or write \"auth\": \"none\"",
        ),
        (
            r#"{"keys": [{"id": "a", "key": "k", "expires_at": "1999-12-31T23:59:59Z"}]}"#,
            "keys: no usable key; set one, or PROXY_API_KEY, or write \"auth\": \"none\"",
        ),
        ("[]", "configuration: expected an object, found an array"),
        (
            "{\n\"keys\": sk-secret}",
            "configuration: not JSON, line 2, column 9",
        ),
        (
            r#"{"auth": "off"}"#,
            "auth: expected \"keys\" or \"none\", found a string",
        ),
        (
            r#"{"kyes": []}"#,
            "kyes: unknown field; known are auth, keys, models, default_model, protect_models, cors, rate_limit, unauthenticated_rate_limit, hold_headers, max_body_bytes, max_client_requests, max_held_body_bytes",
        ),
        (
            r#"{"sk-short-secret": {"id": "a"}}"#,
            "[redacted]: unknown field; known are auth, keys, models, default_model, protect_models, cors, rate_limit, unauthenticated_rate_limit, hold_headers, max_body_bytes, max_client_requests, max_held_body_bytes",
        ),
        (
            r#"{"keys": "sk-secret"}"#,
            "keys: expected an array, found a string",
        ),
        (
            r#"{"keys": ["sk-secret"]}"#,
            "keys[0]: expected an object, found a string",
        ),
        (
            r#"{"keys": [{"id": "a"}]}"#,
            "keys[0].sha256: expected either `sha256` or `key`",
        ),
        (r#"{"keys": [{"key": "k"}]}"#, "keys[0].id: missing"),
        (
            r#"{"keys": [{"id": "a b", "key": "k"}]}"#,
            "keys[0].id: expected a name of letters, digits and ._@-, found a string",
        ),
        (
            r#"{"keys": [{"id": "a", "key": "sk secret"}]}"#,
            "keys[0].key: expected a key of visible ASCII, found a string",
        ),
        (
            r#"{"keys": [{"id": "a", "sha256": "sk-secret"}]}"#,
            "keys[0].sha256: expected a SHA-256 as 64 hexadecimal digits, found a string",
        ),
        (
            r#"{"keys": [{"id": "a", "key": "k", "sha256": "k"}]}"#,
            "keys[0].sha256: expected either `sha256` or `key`",
        ),
        (
            r#"{"keys": [{"id": "a", "key": "k"}, {"id": "a", "key": "l"}]}"#,
            "keys[1].id: another key has this id",
        ),
        (
            r#"{"keys": [{"id": "a", "key": "k"}, {"id": "b", "key": "k"}]}"#,
            "keys[1].id: another id has the same key",
        ),
        (
            r#"{"keys": [{"id": "a", "key": "k", "modles": []}]}"#,
            "keys[0].modles: unknown field; known are id, sha256, key, models, rate_limit, budget, expires_at, disabled, admin, profile",
        ),
        (
            r#"{"keys": [{"id": "a", "key": "k", "models": []}]}"#,
            "keys[0].models: expected at least one model id or pattern, found an array",
        ),
        (
            r#"{"keys": [{"id": "a", "key": "k", "models": ["a,b"]}]}"#,
            "keys[0].models[0]: expected a model id of visible ASCII without commas, found a string",
        ),
        (
            r#"{"keys": [{"id": "a", "key": "k", "models": "a"}]}"#,
            "keys[0].models: expected an array, found a string",
        ),
        (
            r#"{"keys": [{"id": "a", "key": "k", "expires_at": "tomorrow"}]}"#,
            "keys[0].expires_at: expected an RFC 3339 time, found a string",
        ),
        (
            r#"{"keys": [{"id": "a", "key": "k", "profile": "root"}]}"#,
            "keys[0].profile: expected \"chat\" or \"agent\", found a string",
        ),
        (
            r#"{"keys": [{"id": "a", "key": "k", "admin": "yes"}]}"#,
            "keys[0].admin: expected true or false, found a string",
        ),
        (
            r#"{"keys": [{"id": "a", "key": "k", "rate_limit": {"requests": 0}}]}"#,
            "keys[0].rate_limit.requests: expected a whole number from 1 to 1000000, found a number",
        ),
        (
            r#"{"rate_limit": {"window_ms": 1.5}}"#,
            "rate_limit.window_ms: expected a whole number from 1 to 86400000, found a number",
        ),
        (
            r#"{"rate_limit": {"burst": 1}}"#,
            "rate_limit.burst: unknown field; known are enabled, requests, window_ms",
        ),
        (
            r#"{"rate_limit": 5}"#,
            "rate_limit: expected an object, found a number",
        ),
        (
            r#"{"cors": {"allowed_origins": ["app.example"]}}"#,
            "cors.allowed_origins[0]: expected an origin such as https://app.example or http://localhost:*, or \"*\", found a string",
        ),
        (
            r#"{"cors": true}"#,
            "cors: expected an object, found a boolean",
        ),
        (
            r#"{"models": []}"#,
            "models: expected at least one model id or pattern, found an array",
        ),
        (
            r#"{"default_model": 5}"#,
            "default_model: expected a model id of visible ASCII without commas, found a number",
        ),
        (
            r#"{"max_body_bytes": 0}"#,
            "max_body_bytes: expected a whole number from 1 to 4294967295, found a number",
        ),
        (
            r#"{"hold_headers": 1}"#,
            "hold_headers: expected true or false, found a number",
        ),
    ];
    for (json, message) in cases {
        assert_eq!(load(json, &[]).unwrap_err().to_string(), message, "{json}");
    }
}

#[test]
fn invalid_variable_is_reported_by_name() {
    let cases = [
        (
            ("PROXY_API_KEY", "two words"),
            "PROXY_API_KEY: expected visible ASCII without spaces, found other text",
        ),
        (
            ("PROXY_PROTECT_MODELS", "maybe"),
            "PROXY_PROTECT_MODELS: expected true or false, found other text",
        ),
        (
            ("PROXY_ENABLE_CORS", "2"),
            "PROXY_ENABLE_CORS: expected true or false, found other text",
        ),
        (
            ("PROXY_RATE_LIMIT_MAX", "-1"),
            "PROXY_RATE_LIMIT_MAX: expected a whole number, found other text",
        ),
        (
            ("PROXY_RATE_LIMIT_MAX", "0"),
            "rate_limit.requests: expected a whole number from 1 to 1000000, found a number",
        ),
        (
            ("PROXY_RATE_LIMIT_WINDOW_MS", "5m"),
            "PROXY_RATE_LIMIT_WINDOW_MS: expected a whole number, found other text",
        ),
        (
            ("PROXY_CORS_ALLOWED_ORIGINS", "x"),
            "cors.allowed_origins[0]: expected an origin such as https://app.example or http://localhost:*, or \"*\", found a string",
        ),
    ];
    for (variable, message) in cases {
        let error = load(r#"{"keys": [{"id": "a", "key": "k"}]}"#, &[variable]).unwrap_err();
        assert_eq!(error.to_string(), message, "{variable:?}");
    }
}

#[test]
fn debug_output_contains_no_key() {
    let json = r#"{"keys": [{"id": "a", "key": "sk-secret"}]}"#;
    let config = load(json, &[KEY]).unwrap();
    let hash = hex::encode(Sha256::digest("sk-secret"));
    for secret in ["sk-secret", "secret-from-env", hash.as_str()] {
        assert!(!format!("{config:?}").contains(secret), "{secret}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_rejected_without_panic(json in prop::collection::vec(any::<u8>(), 0..100)) {
        prop_assert!(Config::load(&json, &Environment::new(), now()).is_err());
    }

    /// Any value in any field: no panic, no configuration without a key, and no value in the message.
    #[test]
    fn any_value_is_rejected_or_needs_no_key(
        field in prop::sample::select(vec!["auth", "keys", "models", "cors", "rate_limit", "hold_headers", "max_body_bytes"]),
        value in prop::sample::select(vec!["null", "true", "0", "-1", "1e400", "\"sk-secret\"", "[]", "[\"sk-secret\"]", "[{}]", "{}", "{\"sk\":1}"]),
    ) {
        match load(&format!("{{\"{field}\": {value}}}"), &[]) {
            Ok(config) => prop_assert!(config.auth == Auth::None),
            Err(error) => prop_assert!(!error.to_string().contains("sk-secret")),
        }
    }

    #[test]
    fn any_variable_is_rejected_or_is_the_key(
        name in prop::sample::select(vec!["PROXY_API_KEY", "PROXY_PROTECT_MODELS", "PROXY_CORS_ALLOWED_ORIGINS", "PROXY_RATE_LIMIT_MAX"]),
        value in any::<String>(),
    ) {
        if let Ok(config) = load("", &[(name, &value)]) {
            prop_assert!(name == "PROXY_API_KEY" && config.keyring.clients().count() == 1);
        }
    }
}

#[test]
fn requests_in_flight_are_counted_on_across_configurations() {
    let json = |limit: u32| {
        format!(r#"{{"keys": [{{"id": "ann", "key": "sk-ann"}}], "max_client_requests": {limit}}}"#)
    };
    let first = load(&json(2), &[]).unwrap();
    let admit = |config: &Config| {
        let client = config.keyring.client(b"sk-ann", || Some(now())).unwrap();
        config.in_flight.admit(Some(&client.in_flight))
    };
    let running = [admit(&first).unwrap(), admit(&first).unwrap()];
    let mut second = load(&json(2), &[KEY]).unwrap();
    second.adopt_in_flight(&first);
    assert!(admit(&second).is_err());
    drop((first, running));
    assert!(admit(&second).is_ok());
}

#[test]
fn held_bytes_admit_the_largest_body_to_an_idle_worker() {
    for (json, expected) in [
        ("{}", 128 << 20),
        (r#"{"max_held_body_bytes": 1}"#, 32 << 20),
        (r#"{"max_body_bytes": 100000000}"#, 200_000_000),
    ] {
        let config = load(json, &[KEY]).unwrap();
        assert_eq!(config.in_flight.limits.held_bytes, expected, "{json}");
    }
}
