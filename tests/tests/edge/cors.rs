//! Which pages may read what: every answer that leaves Envoy, whoever gives it, and none for a foreign page.
//! The Fetch standard, section 3.3; Private Network Access, section 3.

use std::time::Duration;

use http::{Method, Request, StatusCode};
use serde_json::json;
use tests::envoy::Options;
use tests::http::{Answer, Body, bearer, empty, get, post, with};
use tests::upstream::Script;

use crate::stack::{CHAT, Edges, GUARDED, KEY, MakeRequest, chat};

const PAGE: &str = "https://app.example";
/// Fields that speak of origins.
const FIELDS: [&str; 8] = [
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "access-control-expose-headers",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-max-age",
    "access-control-allow-private-network",
    "vary",
];

/// The fields of [`FIELDS`] that the answer has, all values of each.
fn fields(answer: &Answer) -> Vec<(&'static str, String)> {
    let values = |name: &&'static str| {
        let values = answer.headers.get_all(*name).into_iter();
        let values: Vec<_> = values.map(|value| value.to_str().expect("ASCII")).collect();
        (!values.is_empty()).then(|| (*name, values.join(",")))
    };
    FIELDS.iter().filter_map(values).collect()
}

fn field<'a>(answer: &'a Answer, name: &str) -> &'a str {
    assert!(
        answer.headers.get_all(name).iter().count() <= 1,
        "{name} is doubled: {answer:?}"
    );
    answer.header(name)
}

/// Asserts that a page of `origin` may read the answer, and all that it needs of it.
#[track_caller]
fn assert_readable(answer: &Answer, origin: &str) {
    assert_eq!(
        field(answer, "access-control-allow-origin"),
        origin,
        "{answer:?}"
    );
    assert_eq!(field(answer, "access-control-allow-credentials"), "true");
    let exposed = field(answer, "access-control-expose-headers").to_ascii_lowercase();
    for name in [
        "x-request-id",
        "retry-after",
        "retry-after-ms",
        "x-ratelimit-remaining-requests",
        "openai-processing-ms",
        "x-codex-edge-ignored",
        "x-codex-edge-plan",
    ] {
        assert!(
            exposed.split(", ").any(|field| field == name),
            "{name} in {exposed}"
        );
    }
    assert!(
        answer
            .header("vary")
            .to_ascii_lowercase()
            .contains("origin")
    );
}

/// Asserts that no page may read the answer, which is told to no cache as readable either.
#[track_caller]
fn assert_unreadable(answer: &Answer) {
    let vary = (
        "vary",
        "Origin, Access-Control-Request-Headers, Access-Control-Request-Method".to_owned(),
    );
    assert_eq!(fields(answer), [vary]);
}

fn allow_list(options: Options) -> Options {
    let origins = json!([
        PAGE,
        "http://localhost:*",
        "app://obsidian.md",
        "vscode-webview://*"
    ]);
    options.filter("cors", json!({"allowed_origins": origins}))
}

fn from(request: Request<Body>, origin: &str) -> Request<Body> {
    with(request, "origin", origin)
}

/// What `headers_with_underscores` and the like make of a request never gets to the filter, and is not here.
#[tokio::test]
async fn every_response_is_readable_only_by_allowed_origins() {
    let one = json!({"requests": 1, "window_ms": 86_400_000});
    let keys = json!([
        {"id": "alice", "key": "sk-alice"},
        {"id": "slow", "key": "sk-slow", "rate_limit": one},
        {"id": "bob", "key": "sk-bob", "models": ["codex-5"]},
    ]);
    let change = |options| {
        allow_list(options)
            .filter("keys", keys.clone())
            .filter("max_body_bytes", json!(1000))
    };
    let post = |body: &'static str, key| move || bearer(post(CHAT, body), key);
    let ok = post("{}", "sk-alice");
    let (ok, slow): (MakeRequest, MakeRequest) = (&ok, &post("{}", "sk-slow"));
    let answers = Script::Json(
        StatusCode::BAD_GATEWAY,
        json!({"error": {"code": "codex_failed"}}),
    );
    let events = Script::Events {
        count: 2,
        every: Duration::from_millis(10),
    };
    let cases: [(Script, MakeRequest, &str); 13] = [
        (Script::Echo, ok, "200"),
        (events, ok, "200"),
        (answers, ok, "502 codex_failed"),
        (Script::HangUp, ok, "503 codex_unavailable"),
        (Script::Echo, &|| get(GUARDED), "401 invalid_api_key"),
        (
            Script::Echo,
            &|| bearer(get(GUARDED), "wrong"),
            "401 invalid_api_key",
        ),
        (Script::Echo, &|| bearer(get("/verify"), "sk-alice"), "200"),
        (
            Script::Echo,
            &|| bearer(empty(Method::PUT, "/verify"), "sk-alice"),
            "405 method_not_allowed",
        ),
        (Script::Echo, &post("[]", "sk-alice"), "400 invalid_json"),
        (
            Script::Echo,
            &post(r#"{"model":"gpt-4"}"#, "sk-alice"),
            "404 model_not_found",
        ),
        (
            Script::Echo,
            &post(r#"{"model":"gpt-5"}"#, "sk-bob"),
            "403 model_not_allowed",
        ),
        (
            Script::Echo,
            &|| bearer(tests::http::post(CHAT, vec![b' '; 1001]), "sk-alice"),
            "413 request_too_large",
        ),
        (Script::Echo, slow, "429 rate_limited"),
    ];
    let edges = Edges::start(Script::Echo, change).await;
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
            upstream.follow(script.clone());
        }
        for answer in edges.check(|| from(request(), PAGE), expected).await {
            assert_readable(&answer, PAGE);
        }
        for answer in edges
            .check(|| from(request(), "https://evil.example"), expected)
            .await
        {
            assert_unreadable(&answer);
        }
        for answer in edges.check(request, expected).await {
            assert_unreadable(&answer);
        }
    }
}

#[tokio::test]
async fn origins_are_matched_in_full() {
    let edges = Edges::start(Script::Echo, allow_list).await;
    for (origin, is_allowed) in [
        (PAGE, true),
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
        for answer in edges.check(|| from(chat(), origin), "200").await {
            if is_allowed {
                assert_readable(&answer, origin);
            } else {
                assert_unreadable(&answer);
            }
        }
    }
    let twice = || from(from(chat(), PAGE), "https://evil.example");
    for answer in edges.check(twice, "200").await {
        assert_unreadable(&answer);
    }
}

#[tokio::test]
async fn without_an_allow_list_any_origin_may_read() {
    let edges = Edges::start(Script::Echo, |options| options.env("PROXY_API_KEY", KEY)).await;
    for (request, expected) in [
        (&chat as MakeRequest, "200"),
        (&|| get(GUARDED), "401 invalid_api_key"),
    ] {
        for answer in edges
            .check(|| from(request(), "https://any.example"), expected)
            .await
        {
            assert_readable(&answer, "https://any.example");
        }
        for answer in edges.check(request, expected).await {
            assert_eq!(field(&answer, "access-control-allow-origin"), "*");
            assert_eq!(field(&answer, "access-control-allow-credentials"), "");
        }
    }
}

#[tokio::test]
async fn preflight_is_answered_without_a_key() {
    let edges = Edges::start(Script::Echo, allow_list).await;
    let asks = |origin: &str| {
        let request = with(
            empty(Method::OPTIONS, "/v1/responses/resp_1"),
            "origin",
            origin,
        );
        with(request, "access-control-request-method", "DELETE")
    };
    for answer in edges.check(|| asks(PAGE), "204").await {
        assert_readable(&answer, PAGE);
        assert_eq!(
            field(&answer, "access-control-allow-methods"),
            "GET, POST, DELETE, HEAD, OPTIONS"
        );
        assert_eq!(field(&answer, "access-control-max-age"), "600");
        let headers = field(&answer, "access-control-allow-headers").to_ascii_lowercase();
        for name in [
            "authorization",
            "content-type",
            "x-stainless-retry-count",
            "idempotency-key",
            "x-no-keepalive",
        ] {
            assert!(
                headers.split(", ").any(|field| field == name),
                "{name} in {headers}"
            );
        }
        assert_eq!(field(&answer, "access-control-allow-private-network"), "");
        assert!(
            answer.body.is_empty() && answer.header("content-type").is_empty(),
            "{answer:?}"
        );
    }
    let named = || {
        let request = with(
            asks(PAGE),
            "access-control-request-headers",
            "x-mine,authorization",
        );
        with(request, "access-control-request-private-network", "true")
    };
    for answer in edges.check(named, "204").await {
        assert_eq!(
            field(&answer, "access-control-allow-headers"),
            "x-mine,authorization"
        );
        assert_eq!(
            field(&answer, "access-control-allow-private-network"),
            "true"
        );
    }
    for answer in edges.check(|| asks("https://evil.example"), "204").await {
        assert_unreadable(&answer);
    }
    for answer in edges.check(|| empty(Method::OPTIONS, CHAT), "204").await {
        assert_eq!(answer.header("allow"), "POST, HEAD, OPTIONS");
        assert_unreadable(&answer);
    }
    assert!(edges.seen().is_empty());
}

#[tokio::test]
async fn cors_headers_of_the_upstream_are_replaced() {
    const UPSTREAMS: [(&str, &str); 5] = [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-credentials", "false"),
        ("access-control-expose-headers", "x-theirs"),
        ("access-control-allow-origin", "https://evil.example"),
        ("vary", "accept"),
    ];
    let edges = Edges::start(Script::Fields(&UPSTREAMS), allow_list).await;
    for answer in edges.check(|| from(chat(), PAGE), "200").await {
        assert_readable(&answer, PAGE);
        assert!(answer.header("vary").starts_with("accept,"), "theirs stays");
        assert!(!field(&answer, "access-control-expose-headers").contains("x-theirs"));
    }
    for answer in edges
        .check(|| from(chat(), "https://evil.example"), "200")
        .await
    {
        let names: Vec<_> = fields(&answer).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["vary"], "{answer:?}");
    }
    let off = |options: Options| options.filter("cors", json!({"enabled": false}));
    let edges = Edges::start(Script::Fields(&UPSTREAMS), off).await;
    for answer in edges.check(|| from(chat(), PAGE), "200").await {
        let expected = [
            (
                "access-control-allow-origin",
                "*,https://evil.example".to_owned(),
            ),
            ("access-control-allow-credentials", "false".to_owned()),
            ("access-control-expose-headers", "x-theirs".to_owned()),
            ("vary", "accept".to_owned()),
        ];
        assert_eq!(fields(&answer), expected);
    }
    let preflight = || {
        with(
            from(empty(Method::OPTIONS, CHAT), PAGE),
            "access-control-request-method",
            "POST",
        )
    };
    for answer in edges.check(preflight, "204").await {
        assert_eq!(fields(&answer), []);
    }
}
