//! Configuration: JSON and environment, errors by place, updates as a whole.
//! A rejected configuration never admits a request.

use serde_json::{Value, json};
use tests::filter_wasm::FilterBuild;
use tests::wasm_host::{Builder, LogLevel, Request};

use crate::gateway::{base, base_with, builder, builder_of, good_chat, outcome, upstream};

/// The log line with the reason for which the filter does not start.
#[track_caller]
fn rejection(builder: Builder) -> String {
    let error = builder.start().expect_err("rejected");
    let line = error.logs.iter().find(|line| line.level >= LogLevel::Error);
    line.unwrap_or_else(|| panic!("no reason logged: {error}"))
        .message
        .clone()
}

#[test]
fn invalid_field_is_reported_by_name() {
    let cases = [
        (json!({"kesy": []}), "kesy"),
        (json!({"keys": "sk-alice"}), "keys"),
        (
            json!({"keys": [{"id": "a", "key": "k", "modles": []}]}),
            "keys[0].modles",
        ),
        (json!({"keys": [{"key": "k"}]}), "keys[0].id"),
        (json!({"keys": [{"id": "a"}]}), "keys[0].sha256"),
        (
            json!({"keys": [{"id": "a", "sha256": "123"}]}),
            "keys[0].sha256",
        ),
        (
            json!({"keys": [{"id": "a", "key": "k", "sha256": "0".repeat(64)}]}),
            "keys[0].sha256",
        ),
        (json!({"keys": [{"id": "a\nb", "key": "k"}]}), "keys[0].id"),
        (
            json!({"keys": [{"id": "a", "key": "k"}, {"id": "a", "key": "l"}]}),
            "keys[1].id",
        ),
        (
            json!({"keys": [{"id": "a", "key": "k"}, {"id": "b", "key": "k"}]}),
            "keys[1].id",
        ),
        (
            json!({"keys": [{"id": "a", "key": "k", "expires_at": "tomorrow"}]}),
            "keys[0].expires_at",
        ),
        (
            json!({"keys": [{"id": "a", "key": "k", "profile": "root"}]}),
            "keys[0].profile",
        ),
        (
            json!({"keys": [{"id": "a", "key": "k", "admin": "yes"}]}),
            "keys[0].admin",
        ),
        (
            json!({"keys": [{"id": "a", "key": "k", "rate_limit": {"requests": 0}}]}),
            "keys[0].rate_limit.requests",
        ),
        (json!({"auth": "off"}), "auth"),
        (json!({"models": []}), "models"),
        (json!({"models": ["a,b"]}), "models[0]"),
        (json!({"default_model": ""}), "default_model"),
        (
            json!({"cors": {"allowed_origins": ["localhost"]}}),
            "cors.allowed_origins[0]",
        ),
        (
            json!({"rate_limit": {"requests": -1}}),
            "rate_limit.requests",
        ),
        (
            json!({"rate_limit": {"window_ms": 1.5}}),
            "rate_limit.window_ms",
        ),
        (
            json!({"unauthenticated_rate_limit": {"per": 1}}),
            "unauthenticated_rate_limit.per",
        ),
        (json!({"max_body_bytes": 0}), "max_body_bytes"),
        (json!({"protect_models": 1}), "protect_models"),
        (json!({"hold_headers": "yes"}), "hold_headers"),
    ];
    for (fields, place) in cases {
        let line = rejection(builder(&base_with(fields.clone())));
        assert!(line.contains(&format!("{place}:")), "{fields}: {line}");
    }
}

#[test]
fn configuration_without_a_usable_key_is_rejected() {
    let disabled = json!([{"id": "a", "key": "k", "disabled": true}]);
    let expired = json!([{"id": "a", "key": "k", "expires_at": "2020-01-01T00:00:00Z"}]);
    for keys in [json!([]), disabled, expired, Value::Null] {
        let line = rejection(builder(&base_with(json!({"keys": keys}))));
        assert!(
            line.contains("no usable key") && line.contains("PROXY_API_KEY"),
            "{line}"
        );
    }
    for text in ["", "{}", "null", "[]", "{", "\u{feff}{}"] {
        rejection(builder(&base()).config(text));
    }
    builder(&base_with(json!({"keys": [], "auth": "none"})))
        .start()
        .unwrap();
}

#[test]
fn rejection_never_repeats_a_key() {
    let cases = [
        json!({"keys": [{"id": "a", "key": "sk-secret-1 2"}]}),
        json!({"keys": [{"id": "a", "sha256": "sk-secret"}]}),
        json!({"keys": ["sk-secret"]}),
        json!({"auth": "sk-secret"}),
    ];
    for fields in cases {
        let error = builder(&base_with(fields)).start().unwrap_err().to_string();
        assert!(!error.contains("sk-secret"), "{error}");
    }
    let error = builder(&base()).config(r#"{"keys": [{"id": "a", "key": "sk-secret"}}"#);
    assert!(!error.start().unwrap_err().to_string().contains("sk-secret"));
}

#[test]
fn api_key_in_the_environment_is_a_complete_configuration() {
    let mut host = builder(&json!({}))
        .env("PROXY_API_KEY", "sk-env")
        .start()
        .unwrap();
    let request = |key: &str, model: &str| {
        let body = json!({"model": model}).to_string();
        good_chat()
            .set_header("authorization", format!("Bearer {key}"))
            .body(body)
    };
    let cases = [
        ("sk-env", "codex-5", "forwarded"),
        ("sk-env", "codev-5-high", "forwarded"),
        ("sk-env", "gpt-5", "forwarded"),
        ("sk-env", "of-tomorrow", "forwarded"),
        ("sk-other", "codex-5", "401 invalid_api_key"),
    ];
    for (key, model, expected) in cases {
        let exchange = host.worker(0).exchange(request(key, model), upstream);
        assert_eq!(outcome(&exchange), expected, "{key} {model}");
        if exchange.is_forwarded() {
            let client = exchange.upstream_headers().text("x-codex-edge-client");
            assert_eq!(client.as_deref(), Some("default"));
        }
    }
}

#[test]
fn environment_fills_absent_fields() {
    let mut host = builder(&json!({"keys": [{"id": "a", "key": "sk-a"}]}))
        .env("PROXY_API_KEY", "sk-env")
        .env("PROXY_PROTECT_MODELS", "true")
        .env(
            "PROXY_CORS_ALLOWED_ORIGINS",
            "https://app.example, http://localhost:*",
        )
        .env("PROXY_RATE_LIMIT_ENABLED", "true")
        .env("PROXY_RATE_LIMIT_MAX", "2")
        .env("PROXY_RATE_LIMIT_WINDOW_MS", "1000")
        .start()
        .unwrap();
    let mut send = |request: Request| host.worker(0).exchange(request, upstream);
    assert_eq!(
        outcome(&send(Request::get("/v1/models"))),
        "401 invalid_api_key"
    );
    let chat = |key: &str, model: &str| {
        let body = json!({"model": model}).to_string();
        good_chat()
            .set_header("authorization", format!("Bearer {key}"))
            .body(body)
    };
    assert_eq!(outcome(&send(chat("sk-env", "fast"))), "forwarded");
    assert_eq!(outcome(&send(chat("sk-env", "gpt-9"))), "forwarded");
    assert_eq!(outcome(&send(chat("sk-env", "gpt-9"))), "429 rate_limited");
    assert_eq!(outcome(&send(chat("sk-a", "codex-5"))), "forwarded");
    let foreign = Request::get("/healthz").header("origin", "https://evil.example");
    assert_eq!(send(foreign).header("access-control-allow-origin"), None);
    let local = Request::get("/healthz").header("origin", "http://localhost:3000");
    let allowed = send(local).header("access-control-allow-origin");
    assert_eq!(allowed.as_deref(), Some("http://localhost:3000"));
}

#[test]
fn invalid_variable_is_reported_by_name() {
    let cases = [
        ("PROXY_PROTECT_MODELS", "maybe"),
        ("PROXY_ENABLE_CORS", "2"),
        ("PROXY_RATE_LIMIT_ENABLED", "sure"),
        ("PROXY_RATE_LIMIT_MAX", "many"),
        ("PROXY_RATE_LIMIT_WINDOW_MS", "1s"),
    ];
    for (name, value) in cases {
        let line = rejection(
            builder(&json!({}))
                .env("PROXY_API_KEY", "sk")
                .env(name, value),
        );
        assert!(line.contains(name), "{line}");
    }
    let line = rejection(builder(&json!({})).env("PROXY_API_KEY", "two words"));
    assert!(
        line.contains("PROXY_API_KEY") && !line.contains("two words"),
        "{line}"
    );
}

#[test]
fn update_rotates_keys_and_a_rejected_update_changes_nothing() {
    let with_key = |key: &str| base_with(json!({"keys": [{"id": "a", "key": key}]})).to_string();
    let check = |host: &mut tests::wasm_host::Host, old: &str, new: &str| {
        for worker in host.workers() {
            for (key, expected) in [("sk-old", old), ("sk-new", new)] {
                let request = good_chat().set_header("authorization", format!("Bearer {key}"));
                assert_eq!(
                    outcome(&worker.exchange(request, upstream)),
                    expected,
                    "{key}"
                );
            }
        }
    };
    const REJECTED: &str = "401 invalid_api_key";
    for build in FilterBuild::ALL {
        let mut host = builder_of(build, &base())
            .config(with_key("sk-old"))
            .workers(2)
            .start()
            .unwrap();
        check(&mut host, "forwarded", REJECTED);
        for invalid in ["", "{}", r#"{"keys": []}"#, r#"{"keys": 7}"#] {
            host.update(invalid).expect_err("rejected");
            check(&mut host, "forwarded", REJECTED);
        }
        host.update(&with_key("sk-new")).unwrap();
        check(&mut host, REJECTED, "forwarded");
    }
}

#[test]
fn update_does_not_refill_buckets() {
    let config = base_with(json!({"rate_limit": {"requests": 1, "window_ms": 60_000}}));
    let mut host = builder(&config).start().unwrap();
    assert_eq!(
        outcome(&host.worker(0).exchange(good_chat(), upstream)),
        "forwarded"
    );
    host.update(&config.to_string()).unwrap();
    assert_eq!(
        outcome(&host.worker(0).exchange(good_chat(), upstream)),
        "429 rate_limited"
    );
}
