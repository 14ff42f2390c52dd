//! Cross-origin requests: CORS headers on every response, for allowed origins, and never twice.
//! Follows the Fetch standard, section 3.3, and Private Network Access.

use serde_json::{Value, json};
use tests::wasm_host::{Headers, Request, Response};

use crate::gateway::{ALICE, Gateway, base, base_with, chat, good_chat, upstream};

const PAGE: &str = "https://app.example";

fn with_cors(cors: &Value) -> Gateway {
    Gateway::new(&base_with(json!({"cors": cors})))
}

/// The values of a header, joined as a browser reads them.
fn joined(headers: &Headers, name: &str) -> String {
    let values: Vec<_> = headers.get_all(name).map(String::from_utf8_lossy).collect();
    values.join(", ")
}

/// Checks the CORS headers of a response where origins are listed: `allowed` is one of them, or empty.
#[track_caller]
fn check_allowed(headers: &Headers, allowed: &str) {
    check_origin(headers, allowed);
    let credentials = joined(headers, "access-control-allow-credentials");
    assert_eq!(credentials == "true", !allowed.is_empty(), "{headers:?}");
}

/// Checks the CORS headers of a response where any origin is allowed, without credentials: `allowed` is the origin of the
/// request, or `*`.
#[track_caller]
fn check_any(headers: &Headers, allowed: &str) {
    check_origin(headers, allowed);
    let credentials = joined(headers, "access-control-allow-credentials");
    assert_eq!(credentials, "", "{headers:?}");
}

#[track_caller]
fn check_origin(headers: &Headers, allowed: &str) {
    assert_eq!(
        joined(headers, "access-control-allow-origin"),
        allowed,
        "{headers:?}"
    );
    let vary = joined(headers, "vary").to_ascii_lowercase();
    for field in [
        "origin",
        "access-control-request-headers",
        "access-control-request-method",
    ] {
        assert!(vary.split(", ").any(|name| name == field), "vary: {vary}");
    }
}

#[test]
fn every_response_has_cors_headers() {
    let mut gateway = Gateway::new(&base());
    let requests = [
        Request::get("/healthz"),
        Request::get("/v1/usage"),
        Request::new("OPTIONS", "/v1/usage"),
        Request::get("/verify"),
        Request::get("/verify").header("authorization", ALICE),
        chat(r#"{"model":"gpt-4"}"#).header("authorization", ALICE),
        chat("{").header("authorization", ALICE),
        good_chat(),
    ];
    for request in requests {
        for exchange in gateway.send(request.clone().header("origin", PAGE)) {
            check_any(&exchange.response().headers, PAGE);
            let exposed = joined(
                &exchange.response().headers,
                "access-control-expose-headers",
            );
            for field in [
                "x-request-id",
                "retry-after",
                "retry-after-ms",
                "x-ratelimit-remaining-requests",
            ] {
                assert!(exposed.split(", ").any(|name| name == field), "{exposed}");
            }
        }
        for exchange in gateway.send(request) {
            check_any(&exchange.response().headers, "*");
        }
    }
}

#[test]
fn local_replies_of_envoy_have_cors_headers() {
    let mut gateway = Gateway::new(&base());
    let replies = [
        (404, "route_not_found", ""),
        (
            503,
            "upstream_reset_before_response_started{connection_termination}",
            "reset",
        ),
        (504, "response_timeout", "upstream request timeout"),
    ];
    for (status, details, body) in replies {
        let envoy = |_: &_| Response::from_envoy(status, details, body);
        for exchange in gateway.send_to(good_chat().header("origin", PAGE), envoy) {
            assert_eq!(exchange.status(), status);
            check_any(&exchange.response().headers, PAGE);
        }
    }
    // A body over Envoy's buffer limit, while the filter waits for the model.
    let long = format!(r#"{{"a":"{}"}}"#, "a".repeat(2 << 20));
    let request = chat(long)
        .header("authorization", ALICE)
        .header("origin", PAGE);
    for exchange in gateway.send(request) {
        assert_eq!(exchange.status(), 413);
        check_any(&exchange.response().headers, PAGE);
    }
}

#[test]
fn streamed_response_keeps_its_chunks_and_gets_cors_headers() {
    let events = ["data: {\"a\":\"\u{e9}", "\"}\n", "\ndata: [DONE]\n\n"];
    let stream = |_: &_| {
        Response::ok()
            .header("content-type", "text/event-stream; charset=utf-8")
            .body_pieces(events)
            .trailer("x-usage", "1")
    };
    let mut gateway = Gateway::new(&base());
    for exchange in gateway.send_to(good_chat().header("origin", PAGE), stream) {
        let response = exchange.response();
        assert_eq!(
            response.pieces,
            events.map(|event| event.as_bytes().to_vec())
        );
        assert!(response.trailers.is_some());
        check_any(&response.headers, PAGE);
    }
}

#[test]
fn cors_headers_of_the_upstream_are_replaced() {
    let upstream_with_cors = |_: &_| {
        Response::ok()
            .header("access-control-allow-origin", "https://evil.example")
            .header("access-control-allow-origin", "*")
            .header("access-control-allow-credentials", "true")
            .header("access-control-expose-headers", "x-secret")
            .header("vary", "accept-encoding")
    };
    let mut gateway = with_cors(&json!({"allowed_origins": [PAGE]}));
    for (origin, allowed) in [(PAGE, PAGE), ("https://evil.example", "")] {
        for exchange in gateway.send_to(good_chat().header("origin", origin), upstream_with_cors) {
            let headers = &exchange.response().headers;
            check_allowed(headers, allowed);
            assert!(joined(headers, "vary").contains("accept-encoding"));
            assert!(!joined(headers, "access-control-expose-headers").contains("x-secret"));
        }
    }
}

#[test]
fn allowed_origins_decide_on_each_origin() {
    let mut gateway = with_cors(&json!({"allowed_origins": [
        "https://app.example", "http://localhost:*", "app://obsidian.md", "vscode-webview://*",
    ]}));
    let cases: [(&[u8], bool); 16] = [
        (b"https://app.example", true),
        (b"http://localhost", true),
        (b"http://localhost:5173", true),
        (b"app://obsidian.md", true),
        (b"vscode-webview://0a1b2c", true),
        (b"https://app.example.evil.example", false),
        (b"https://evil.example/https://app.example", false),
        (b"https://app.example:8443", false),
        (b"http://app.example", false),
        (b"https://localhost:5173", false),
        (b"http://localhost.evil.example", false),
        (b"http://localhost:1@evil.example", false),
        (b"app://obsidian.md.evil.example", false),
        (b"null", false),
        (b"", false),
        (b"https://app.example\xff", false),
    ];
    for (origin, is_allowed) in cases {
        let expected = String::from_utf8_lossy(if is_allowed { origin } else { b"" });
        for request in [Request::get("/healthz"), preflight()] {
            for exchange in gateway.send(request.set_header("origin", origin)) {
                check_allowed(&exchange.response().headers, &expected);
            }
        }
    }
    // A repeated `origin` is not used.
    let request = Request::get("/healthz")
        .header("origin", PAGE)
        .header("origin", PAGE);
    for exchange in gateway.send(request) {
        check_allowed(&exchange.response().headers, "");
    }
}

fn preflight() -> Request {
    Request::new("OPTIONS", "/v1/chat/completions")
        .header("origin", PAGE)
        .header("access-control-request-method", "POST")
}

#[test]
fn preflight_needs_no_key_and_allows_the_requested_headers() {
    let mut gateway = with_cors(&json!({"allowed_origins": [PAGE]}));
    for exchange in
        gateway.send(preflight().header("access-control-request-headers", "x-a, authorization"))
    {
        let response = exchange.response();
        assert_eq!((response.status(), response.body().len()), (204, 0));
        assert!(exchange.upstream.is_none());
        check_allowed(&response.headers, PAGE);
        assert_eq!(
            joined(&response.headers, "access-control-allow-headers"),
            "x-a, authorization"
        );
        assert_eq!(joined(&response.headers, "access-control-max-age"), "600");
        assert_eq!(
            joined(&response.headers, "access-control-allow-private-network"),
            ""
        );
        assert_eq!(response.headers.get("content-type"), None);
        let methods = joined(&response.headers, "access-control-allow-methods");
        for method in ["GET", "POST", "DELETE", "HEAD", "OPTIONS"] {
            assert!(
                methods.split(", ").any(|allowed| allowed == method),
                "{methods}"
            );
        }
    }
    let unnamed = gateway.send(preflight());
    let fields = joined(
        &unnamed[0].response().headers,
        "access-control-allow-headers",
    );
    let allowed = fields.to_ascii_lowercase();
    for field in [
        "authorization",
        "content-type",
        "openai-beta",
        "x-stainless-lang",
        "idempotency-key",
        "x-no-keepalive",
    ] {
        assert!(
            allowed.split(", ").any(|name| name == field),
            "{field}: {allowed}"
        );
    }
    let private = preflight().header("access-control-request-private-network", "true");
    for exchange in gateway.send(private) {
        let allowed = joined(
            &exchange.response().headers,
            "access-control-allow-private-network",
        );
        assert_eq!(allowed, "true");
    }
}

#[test]
fn preflight_of_a_disallowed_origin_gets_no_cors_headers() {
    let mut gateway = with_cors(&json!({"allowed_origins": ["https://other.example"]}));
    for exchange in gateway.send(preflight()) {
        assert_eq!(exchange.status(), 204);
        let headers = &exchange.response().headers;
        check_allowed(headers, "");
        for name in ["methods", "headers", "private-network"] {
            assert_eq!(joined(headers, &format!("access-control-allow-{name}")), "");
        }
    }
}

#[test]
fn plain_options_lists_the_methods_of_the_path() {
    let mut gateway = Gateway::new(&base());
    let cases = [
        ("/v1/chat/completions", "POST, HEAD, OPTIONS"),
        ("/v1/models", "GET, HEAD, OPTIONS"),
        ("/healthz", "GET, HEAD, OPTIONS"),
    ];
    for (path, allow) in cases {
        for exchange in gateway.send(Request::new("OPTIONS", path)) {
            assert_eq!(
                (exchange.status(), exchange.header("allow").as_deref()),
                (204, Some(allow))
            );
        }
    }
}

#[test]
fn disabled_cors_adds_no_headers_and_answers_options() {
    let mut gateway = with_cors(&json!({"enabled": false}));
    for request in [
        preflight(),
        Request::get("/v1/usage").header("origin", PAGE),
        good_chat().header("origin", PAGE),
    ] {
        for exchange in gateway.send_to(request, upstream) {
            let headers = &exchange.response().headers;
            let names = headers
                .iter()
                .map(|(name, _)| String::from_utf8_lossy(name));
            let fields: Vec<_> = names
                .filter(|name| name.starts_with("access-control-"))
                .collect();
            assert!(fields.is_empty(), "{fields:?}");
        }
    }
    gateway.check(preflight(), "204");
}
