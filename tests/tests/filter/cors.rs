//! Cross-origin requests: on every answer that leaves Envoy, for the right pages, never doubled.
//! The Fetch standard, section 3.3; Private Network Access.

use serde_json::{Value, json};
use tests::wasm_host::{Headers, Request, Response};

use crate::gateway::{ALICE, Gateway, base, base_with, chat, good_chat, upstream};

const PAGE: &str = "https://app.example";

fn with_cors(cors: &Value) -> Gateway {
    Gateway::new(&base_with(json!({"cors": cors})))
}

/// All values of a field, joined as a browser reads them.
fn joined(headers: &Headers, name: &str) -> String {
    let values: Vec<_> = headers.get_all(name).map(String::from_utf8_lossy).collect();
    values.join(", ")
}

/// Asserts what a page of this origin is told: `origin`, `*`, or nothing.
#[track_caller]
fn check_allowed(headers: &Headers, allowed: &str) {
    assert_eq!(
        joined(headers, "access-control-allow-origin"),
        allowed,
        "{headers:?}"
    );
    let credentials = joined(headers, "access-control-allow-credentials");
    let is_named = !allowed.is_empty() && allowed != "*";
    assert_eq!(credentials == "true", is_named, "{headers:?}");
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
fn every_answer_can_be_read_by_a_page() {
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
            check_allowed(&exchange.response().headers, PAGE);
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
            check_allowed(&exchange.response().headers, "*");
        }
    }
}

#[test]
fn envoys_own_answers_can_be_read_too() {
    let mut gateway = Gateway::new(&base());
    let answers = [
        (404, "route_not_found", ""),
        (
            503,
            "upstream_reset_before_response_started{connection_termination}",
            "reset",
        ),
        (504, "response_timeout", "upstream request timeout"),
    ];
    for (status, details, body) in answers {
        let envoy = |_: &_| Response::from_envoy(status, details, body);
        for exchange in gateway.send_to(good_chat().header("origin", PAGE), envoy) {
            assert_eq!(exchange.status(), status);
            check_allowed(&exchange.response().headers, PAGE);
        }
    }
    // More than Envoy holds for a filter that waits for the model.
    let long = format!(r#"{{"a":"{}"}}"#, "a".repeat(2 << 20));
    let request = chat(long)
        .header("authorization", ALICE)
        .header("origin", PAGE);
    for exchange in gateway.send(request) {
        assert_eq!(exchange.status(), 413);
        check_allowed(&exchange.response().headers, PAGE);
    }
}

#[test]
fn a_stream_is_passed_on_piece_by_piece_with_the_fields() {
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
        check_allowed(&response.headers, PAGE);
    }
}

#[test]
fn what_the_upstream_says_is_replaced_and_never_doubled() {
    let chatty = |_: &_| {
        Response::ok()
            .header("access-control-allow-origin", "https://evil.example")
            .header("access-control-allow-origin", "*")
            .header("access-control-allow-credentials", "true")
            .header("access-control-expose-headers", "x-secret")
            .header("vary", "accept-encoding")
    };
    let mut gateway = with_cors(&json!({"allowed_origins": [PAGE]}));
    for (origin, allowed) in [(PAGE, PAGE), ("https://evil.example", "")] {
        for exchange in gateway.send_to(good_chat().header("origin", origin), chatty) {
            let headers = &exchange.response().headers;
            check_allowed(headers, allowed);
            assert!(joined(headers, "vary").contains("accept-encoding"));
            assert!(!joined(headers, "access-control-expose-headers").contains("x-secret"));
        }
    }
}

#[test]
fn a_list_decides_which_pages_may_read() {
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
    // Two origins are none.
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
fn a_preflight_needs_no_key_and_is_told_all_it_asks() {
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
    let fields = fields.to_ascii_lowercase();
    for field in [
        "authorization",
        "content-type",
        "openai-beta",
        "x-stainless-lang",
        "idempotency-key",
        "x-no-keepalive",
    ] {
        assert!(
            fields.split(", ").any(|name| name == field),
            "{field}: {fields}"
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
fn a_foreign_preflight_is_answered_and_told_nothing() {
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
fn a_plain_options_says_what_is_allowed() {
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
fn switched_off_it_says_nothing_and_options_is_still_answered() {
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
