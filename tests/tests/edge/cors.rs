//! CORS: pages of allowed origins can read every response of Envoy, the filter and the upstream; other pages can read
//! no response. Follows the Fetch standard, section 3.3, and Private Network Access, section 3.

use std::time::Duration;

use http::{Method, Request, StatusCode};
use serde_json::json;
use tests::envoy::EnvoyOptions;
use tests::http::{Body, BufferedResponse, bearer, empty, get, post, with};
use tests::upstream::Behavior;

use crate::stack::{CHAT, Edges, GUARDED, KEY, MakeRequest, chat, listed_models};

const ALLOWED_ORIGIN: &str = "https://app.example";
const DISALLOWED_ORIGIN: &str = "https://evil.example";
/// Response headers that depend on the origin.
const CORS_HEADERS: [&str; 8] = [
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "access-control-expose-headers",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-max-age",
    "access-control-allow-private-network",
    "vary",
];

/// Returns the headers of [`CORS_HEADERS`] that `response` has, with the values of each joined by commas.
fn cors_headers(response: &BufferedResponse) -> Vec<(&'static str, String)> {
    let values = |name: &&'static str| {
        let values: Vec<_> = response
            .headers
            .get_all(*name)
            .into_iter()
            .map(|value| value.to_str().expect("ASCII"))
            .collect();
        (!values.is_empty()).then(|| (*name, values.join(",")))
    };
    CORS_HEADERS.iter().filter_map(values).collect()
}

/// Returns the value of a header that occurs at most once.
fn single_header<'a>(response: &'a BufferedResponse, name: &str) -> &'a str {
    assert!(
        response.headers.get_all(name).iter().count() <= 1,
        "{name} occurs twice: {response:?}"
    );
    response.header(name)
}

/// Asserts that a page of the listed `origin` can read the response, with credentials.
#[track_caller]
fn assert_readable(response: &BufferedResponse, origin: &str) {
    assert_eq!(
        single_header(response, "access-control-allow-credentials"),
        "true"
    );
    assert_exposed(response, origin);
}

/// Asserts that a page of `origin` can read the response and the headers that clients use.
#[track_caller]
fn assert_exposed(response: &BufferedResponse, origin: &str) {
    assert_eq!(
        single_header(response, "access-control-allow-origin"),
        origin,
        "{response:?}"
    );
    let exposed = single_header(response, "access-control-expose-headers").to_ascii_lowercase();
    for name in [
        "x-request-id",
        "retry-after",
        "retry-after-ms",
        "x-ratelimit-remaining-requests",
        "openai-processing-ms",
        "x-codex-edge-ignored",
        "x-codex-edge-limit",
        "x-codex-edge-plan",
        "x-codex-edge-thread",
    ] {
        assert!(
            exposed.split(", ").any(|header| header == name),
            "{name} in {exposed}"
        );
    }
    assert!(
        response
            .header("vary")
            .to_ascii_lowercase()
            .contains("origin")
    );
}

/// Asserts that no page can read the response, and that `vary` keeps caches from serving it to an allowed origin.
#[track_caller]
fn assert_unreadable(response: &BufferedResponse) {
    let vary = (
        "vary",
        "Origin, Access-Control-Request-Headers, Access-Control-Request-Method".to_owned(),
    );
    assert_eq!(cors_headers(response), [vary]);
}

fn allow_list(options: EnvoyOptions) -> EnvoyOptions {
    let origins = json!([
        ALLOWED_ORIGIN,
        "http://localhost:*",
        "app://obsidian.md",
        "vscode-webview://*"
    ]);
    options.filter("cors", json!({"allowed_origins": origins}))
}

fn from(request: Request<Body>, origin: &str) -> Request<Body> {
    with(request, "origin", origin)
}

/// Requests that Envoy rejects before the filter runs (such as an escaped slash in the path) are not covered here.
#[tokio::test]
async fn every_response_is_readable_only_by_allowed_origins() {
    let one_request = json!({"requests": 1, "window_ms": 86_400_000});
    let keys = json!([
        {"id": "alice", "key": "sk-alice"},
        {"id": "slow", "key": "sk-slow", "rate_limit": one_request},
        {"id": "bob", "key": "sk-bob", "models": ["codex-5"]},
    ]);
    let change = |options| {
        listed_models(allow_list(options))
            .filter("keys", keys.clone())
            .filter("max_body_bytes", json!(1000))
    };
    let post = |body: &'static str, key| move || bearer(post(CHAT, body), key);
    let ok = post("{}", "sk-alice");
    let (ok, slow): (MakeRequest, MakeRequest) = (&ok, &post("{}", "sk-slow"));
    let failure = Behavior::Json(
        StatusCode::BAD_GATEWAY,
        json!({"error": {"code": "codex_failed"}}),
    );
    let events = Behavior::Events {
        count: 2,
        every: Duration::from_millis(10),
    };
    let cases: [(Behavior, MakeRequest, &str); 13] = [
        (Behavior::Echo, ok, "200"),
        (events, ok, "200"),
        (failure, ok, "502 codex_failed"),
        (Behavior::Disconnect, ok, "503 codex_unavailable"),
        (Behavior::Echo, &|| get(GUARDED), "401 invalid_api_key"),
        (
            Behavior::Echo,
            &|| bearer(get(GUARDED), "wrong"),
            "401 invalid_api_key",
        ),
        (
            Behavior::Echo,
            &|| bearer(get("/verify"), "sk-alice"),
            "200",
        ),
        (
            Behavior::Echo,
            &|| bearer(empty(Method::PUT, "/verify"), "sk-alice"),
            "405 method_not_allowed",
        ),
        (Behavior::Echo, &post("[]", "sk-alice"), "400 invalid_json"),
        (
            Behavior::Echo,
            &post(r#"{"model":"gpt-4"}"#, "sk-alice"),
            "404 model_not_found",
        ),
        (
            Behavior::Echo,
            &post(r#"{"model":"gpt-5"}"#, "sk-bob"),
            "403 model_not_allowed",
        ),
        (
            Behavior::Echo,
            &|| bearer(tests::http::post(CHAT, vec![b' '; 1001]), "sk-alice"),
            "413 request_too_large",
        ),
        (Behavior::Echo, slow, "429 rate_limited"),
    ];
    let edges = Edges::start(Behavior::Echo, change).await;
    for (_, envoy) in edges.each() {
        let first = envoy
            .connect(tests::http::Version::H1)
            .await
            .send(slow())
            .await;
        assert_eq!(first.unwrap().status, StatusCode::OK);
    }
    for (script, request, expected) in cases {
        for (upstream, _) in edges.each() {
            upstream.set_behavior(script.clone());
        }
        for response in edges
            .check(|| from(request(), ALLOWED_ORIGIN), expected)
            .await
        {
            assert_readable(&response, ALLOWED_ORIGIN);
        }
        for response in edges
            .check(|| from(request(), DISALLOWED_ORIGIN), expected)
            .await
        {
            assert_unreadable(&response);
        }
        for response in edges.check(request, expected).await {
            assert_unreadable(&response);
        }
    }
}

#[tokio::test]
async fn origins_are_matched_in_full() {
    let edges = Edges::start(Behavior::Echo, allow_list).await;
    for (origin, is_allowed) in [
        (ALLOWED_ORIGIN, true),
        ("http://localhost:3000", true),
        ("http://localhost:65535", true),
        ("app://obsidian.md", true),
        ("vscode-webview://0a1b2c", true),
        ("http://app.example", false),
        ("https://app.example:8443", false),
        ("https://app.example.evil.example", false),
        ("https://evil.example/https://app.example", false),
        ("https://notapp.example", false),
        ("http://localhost.evil.example:80", false),
        ("https://localhost:3000", false),
        ("null", false),
        ("*", false),
        ("", false),
    ] {
        for response in edges.check(|| from(chat(), origin), "200").await {
            if is_allowed {
                assert_readable(&response, origin);
            } else {
                assert_unreadable(&response);
            }
        }
    }
    let two_origins = || from(from(chat(), ALLOWED_ORIGIN), DISALLOWED_ORIGIN);
    for response in edges.check(two_origins, "200").await {
        assert_unreadable(&response);
    }
}

#[tokio::test]
async fn without_an_allow_list_any_origin_may_read() {
    let edges = Edges::start(Behavior::Echo, |options| options.env("PROXY_API_KEY", KEY)).await;
    for (request, expected) in [
        (&chat as MakeRequest, "200"),
        (&|| get(GUARDED), "401 invalid_api_key"),
    ] {
        for response in edges
            .check(|| from(request(), "https://any.example"), expected)
            .await
        {
            assert_exposed(&response, "https://any.example");
            assert_eq!(response.header("access-control-allow-credentials"), "");
        }
        for response in edges.check(request, expected).await {
            assert_eq!(single_header(&response, "access-control-allow-origin"), "*");
            assert_eq!(
                single_header(&response, "access-control-allow-credentials"),
                ""
            );
        }
    }
}

#[tokio::test]
async fn preflight_is_answered_without_a_key() {
    let edges = Edges::start(Behavior::Echo, allow_list).await;
    let preflight = |origin: &str| {
        let request = with(
            empty(Method::OPTIONS, "/v1/responses/resp_1"),
            "origin",
            origin,
        );
        with(request, "access-control-request-method", "DELETE")
    };
    for response in edges.check(|| preflight(ALLOWED_ORIGIN), "204").await {
        assert_readable(&response, ALLOWED_ORIGIN);
        assert_eq!(
            single_header(&response, "access-control-allow-methods"),
            "GET, POST, DELETE, HEAD, OPTIONS"
        );
        assert_eq!(single_header(&response, "access-control-max-age"), "600");
        let headers = single_header(&response, "access-control-allow-headers").to_ascii_lowercase();
        for name in [
            "authorization",
            "content-type",
            "x-stainless-retry-count",
            "idempotency-key",
            "x-no-keepalive",
        ] {
            assert!(
                headers.split(", ").any(|header| header == name),
                "{name} in {headers}"
            );
        }
        assert_eq!(
            single_header(&response, "access-control-allow-private-network"),
            ""
        );
        assert!(
            response.body.is_empty() && response.header("content-type").is_empty(),
            "{response:?}"
        );
    }
    let with_requested_headers = || {
        let request = with(
            preflight(ALLOWED_ORIGIN),
            "access-control-request-headers",
            "x-mine,authorization",
        );
        with(request, "access-control-request-private-network", "true")
    };
    for response in edges.check(with_requested_headers, "204").await {
        assert_eq!(
            single_header(&response, "access-control-allow-headers"),
            "x-mine,authorization"
        );
        assert_eq!(
            single_header(&response, "access-control-allow-private-network"),
            "true"
        );
    }
    for response in edges.check(|| preflight(DISALLOWED_ORIGIN), "204").await {
        assert_unreadable(&response);
    }
    for response in edges.check(|| empty(Method::OPTIONS, CHAT), "204").await {
        assert_eq!(response.header("allow"), "POST, HEAD, OPTIONS");
        assert_unreadable(&response);
    }
    assert!(edges.requests().is_empty());
}

#[tokio::test]
async fn cors_headers_of_the_upstream_are_replaced() {
    const UPSTREAM_HEADERS: [(&str, &str); 5] = [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-credentials", "false"),
        ("access-control-expose-headers", "x-theirs"),
        ("access-control-allow-origin", DISALLOWED_ORIGIN),
        ("vary", "accept"),
    ];
    let edges = Edges::start(Behavior::Headers(&UPSTREAM_HEADERS), allow_list).await;
    for response in edges.check(|| from(chat(), ALLOWED_ORIGIN), "200").await {
        assert_readable(&response, ALLOWED_ORIGIN);
        assert!(
            response.header("vary").starts_with("accept,"),
            "`vary` of the upstream is kept"
        );
        assert!(!single_header(&response, "access-control-expose-headers").contains("x-theirs"));
    }
    for response in edges.check(|| from(chat(), DISALLOWED_ORIGIN), "200").await {
        let names: Vec<_> = cors_headers(&response)
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["vary"], "{response:?}");
    }
    let off = |options: EnvoyOptions| options.filter("cors", json!({"enabled": false}));
    let edges = Edges::start(Behavior::Headers(&UPSTREAM_HEADERS), off).await;
    for response in edges.check(|| from(chat(), ALLOWED_ORIGIN), "200").await {
        let expected = [
            (
                "access-control-allow-origin",
                "*,https://evil.example".to_owned(),
            ),
            ("access-control-allow-credentials", "false".to_owned()),
            ("access-control-expose-headers", "x-theirs".to_owned()),
            ("vary", "accept".to_owned()),
        ];
        assert_eq!(cors_headers(&response), expected);
    }
    let preflight = || {
        with(
            from(empty(Method::OPTIONS, CHAT), ALLOWED_ORIGIN),
            "access-control-request-method",
            "POST",
        )
    };
    for response in edges.check(preflight, "204").await {
        assert_eq!(cors_headers(&response), []);
    }
}
