//! The routes of Anthropic's Messages API: its credentials, its error shape in the replies of filter and Envoy, and the
//! checks of a generating route.

use http::{Method, Request};
use serde_json::{Value, json};
use tests::envoy::{Envoy, EnvoyOptions};
use tests::http::{Body, BufferedResponse, Version, bearer, empty, get, post, raw, with};
use tests::upstream::Behavior;

use crate::stack::{
    CHAT, Edges, KEY, from_malformed_sidecar, listed_models, options, raw_request, start,
    start_with,
};

const MESSAGES: &str = "/v1/messages";

fn message(model: &str) -> Request<Body> {
    let body = json!({"model": model, "max_tokens": 9, "messages": []}).to_string();
    with(post(MESSAGES, body), "anthropic-version", "2023-06-01")
}

fn keyed(request: Request<Body>) -> Request<Body> {
    with(request, "x-api-key", KEY)
}

/// Asserts that `response` is an error in Anthropic's shape.
#[track_caller]
pub(crate) fn assert_error(response: &BufferedResponse, status: u16, kind: &str, code: &str) {
    assert_eq!(response.status.as_u16(), status, "{response:?}");
    assert_eq!(
        response.header("content-type"),
        "application/json; charset=utf-8"
    );
    let id = response.header("request-id");
    assert!(!id.is_empty(), "{response:?}");
    assert_eq!(id, response.header("x-request-id"));
    let body: Value = response.json();
    assert_eq!(body["type"], "error", "{response:?}");
    assert_eq!(body["error"]["type"], kind, "{response:?}");
    assert_eq!(body["error"]["details"]["error_code"], code, "{response:?}");
    let text = body["error"]["message"].as_str();
    assert!(text.is_some_and(|text| !text.is_empty()), "{response:?}");
}

async fn send(envoy: &Envoy, version: Version, request: Request<Body>) -> BufferedResponse {
    let mut client = envoy.connect(version).await;
    client.send(request).await.expect("a response arrives")
}

#[tokio::test]
async fn api_key_header_is_a_credential_on_these_routes_and_stays_in_envoy() {
    let edges = Edges::start(Behavior::Echo, |options| options).await;
    let models = || with(get("/v1/models"), "anthropic-version", "2023-06-01");
    edges.check(|| keyed(message("codex-5")), "200").await;
    edges.check(|| bearer(message("codex-5"), KEY), "200").await;
    edges
        .check(|| keyed(bearer(message("codex-5"), KEY)), "200")
        .await;
    edges.check(|| keyed(models()), "200").await;
    // Elsewhere the header has no meaning, and does not leave Envoy either.
    edges
        .check(|| keyed(bearer(get("/v1/usage"), KEY)), "200")
        .await;
    for request in edges.requests() {
        let headers = &request.head.headers;
        for name in ["x-api-key", "authorization"] {
            assert!(!headers.contains_key(name), "{} {name}", request.head.uri);
        }
        let is_known =
            request.head.uri.path() == "/v1/models" || headers.contains_key("x-codex-edge-client");
        assert!(is_known, "{}", request.head.uri);
    }
    edges
        .check(|| keyed(get("/v1/usage")), "401 invalid_api_key")
        .await;
    edges
        .check(|| keyed(post(CHAT, "{}")), "401 invalid_api_key")
        .await;
}

#[tokio::test]
async fn wrong_missing_and_conflicting_keys_are_refused() {
    let edges = Edges::start(Behavior::Echo, |options| options).await;
    for (name, request) in [
        (
            "missing",
            Box::new(|| message("codex-5")) as Box<dyn Fn() -> Request<Body>>,
        ),
        (
            "wrong",
            Box::new(|| with(message("codex-5"), "x-api-key", "sk-wrong")),
        ),
        ("twice", Box::new(|| keyed(keyed(message("codex-5"))))),
        (
            "conflicting",
            Box::new(|| keyed(bearer(message("codex-5"), "sk-other"))),
        ),
        (
            "conflicting",
            Box::new(|| with(bearer(message("codex-5"), KEY), "x-api-key", "sk-other")),
        ),
        (
            "other scheme",
            Box::new(|| with(keyed(message("codex-5")), "authorization", "Basic YTpi")),
        ),
        (
            "count",
            Box::new(|| post("/v1/messages/count_tokens", "{}")),
        ),
        (
            "unknown path",
            Box::new(|| post("/v1/messages/batches", "{}")),
        ),
    ] {
        for response in edges.check(request, "401").await {
            assert_error(&response, 401, "authentication_error", "invalid_api_key");
            assert_eq!(
                response.header("www-authenticate"),
                r#"Bearer realm="api""#,
                "{name}"
            );
        }
    }
    assert!(edges.requests().is_empty());
}

#[tokio::test]
async fn checks_of_a_generating_route_reply_in_the_shape() {
    let edges = Edges::start(Behavior::Echo, |options| {
        listed_models(options).filter("max_body_bytes", json!(4096))
    })
    .await;
    for (request, status, kind, code) in [
        (
            Box::new(|| keyed(message("unheard-of"))) as Box<dyn Fn() -> Request<Body>>,
            404,
            "not_found_error",
            "model_not_found",
        ),
        (
            Box::new(|| keyed(post(MESSAGES, "{"))),
            400,
            "invalid_request_error",
            "invalid_json",
        ),
        (
            Box::new(|| keyed(post(MESSAGES, "x".repeat(5000)))),
            413,
            "invalid_request_error",
            "request_too_large",
        ),
        (
            Box::new(|| keyed(with(message("codex-5"), "content-encoding", "gzip"))),
            415,
            "invalid_request_error",
            "unsupported_media_type",
        ),
    ] {
        for response in edges.check(request, &status.to_string()).await {
            assert_error(&response, status, kind, code);
        }
    }
    edges.check(|| keyed(message("codex-5-low")), "200").await;
}

#[tokio::test]
async fn rate_limit_counts_messages_and_says_so_in_the_shape() {
    let (_upstream, envoy) = start_with(Behavior::Echo, |options| {
        options.filter(
            "rate_limit",
            json!({"requests": 1, "window_ms": 86_400_000}),
        )
    })
    .await;
    let first = send(&envoy, Version::H1, keyed(message("codex-5"))).await;
    assert_eq!(first.status, 200, "{first:?}");
    let second = send(&envoy, Version::H1, keyed(message("codex-5"))).await;
    assert_error(&second, 429, "rate_limit_error", "rate_limited");
    assert!(!second.header("retry-after").is_empty());
}

#[tokio::test]
async fn missing_sidecar_is_told_in_the_shape() {
    let missing = EnvoyOptions::new("/nonexistent/sidecar.sock").env("PROXY_API_KEY", KEY);
    let envoy = Envoy::start(missing).await;
    let request = with(keyed(message("codex-5")), "origin", "https://app.example");
    let models = with(get("/v1/models"), "anthropic-version", "2023-06-01");
    // At once: Envoy retries each for about ten seconds.
    let (message, models, plain) = tokio::join!(
        send(&envoy, Version::H1, request),
        send(&envoy, Version::H2, models),
        send(&envoy, Version::H1, get("/v1/models"))
    );
    for response in [&message, &models] {
        assert_error(response, 503, "api_error", "codex_unavailable");
        assert_eq!(response.header("retry-after"), "1");
    }
    let exposed = message.header("access-control-expose-headers");
    assert!(exposed.contains(" request-id"), "{exposed}");
    assert_eq!(plain.json()["error"]["code"], "codex_unavailable");
}

#[tokio::test]
async fn request_that_envoy_itself_rejects_gets_the_shape() {
    let (upstream, envoy) = start().await;
    let line = "POST /v1/messages HTTP/1.1";
    let upgrade = "upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n";
    let invalid = (400, "invalid_request_error", "invalid_request_error");
    for (line, headers, body, (status, kind, code)) in [
        ("POST /v1/messages/%2f HTTP/1.1", "", "", invalid),
        (
            "GET /v1/models/%2f HTTP/1.1",
            "anthropic-version: 2023-06-01\r\n",
            "",
            invalid,
        ),
        (line, "transfer-encoding: chunked\r\n", "zz\r\n", invalid),
        (
            line,
            upgrade,
            "",
            (426, "invalid_request_error", "upgrade_not_supported"),
        ),
    ] {
        let request = String::from_utf8(raw_request(line, headers, body)).expect("UTF-8");
        let request = match headers {
            _ if headers == upgrade => request.replace("connection: close", "connection: upgrade"),
            _ => request,
        };
        let response = raw(envoy.address(), request.as_bytes()).await;
        assert_error(&response, status, kind, code);
    }
    assert!(upstream.requests().is_empty());
}

/// Envoy rejects it before it knows the path.
#[tokio::test]
async fn request_without_a_readable_head_gets_the_shape_of_openai() {
    let (_upstream, envoy) = start().await;
    let large = format!("x-large: {}\r\n", "a".repeat(65 << 10));
    let cases = [
        ("1.1", large.as_str(), 431, "headers_too_large"),
        (
            "1.1",
            "content-length: 3, 4\r\n",
            400,
            "invalid_request_error",
        ),
        ("1.0", "", 426, "http_version_not_supported"),
    ];
    for (version, headers, status, code) in cases {
        let line = format!("POST /v1/messages HTTP/{version}");
        let response = raw(envoy.address(), &raw_request(&line, headers, "")).await;
        crate::stack::assert_error(&response, status, "invalid_request_error", code);
    }
}

#[tokio::test]
async fn slow_requests_and_silent_sidecars_are_told_in_the_shape() {
    let (_upstream, envoy) = start_with(Behavior::NeverRespond, |options| {
        options
            .replace("request_timeout: 120s", "request_timeout: 0.3s")
            .replace("stream_idle_timeout: 330s", "stream_idle_timeout: 0.9s")
    })
    .await;
    let length = "content-length: 100\r\n";
    let slow = raw_request("POST /v1/messages HTTP/1.1", length, "{\"model\"");
    let (slow, silent) = tokio::join!(
        raw(envoy.address(), &slow),
        send(&envoy, Version::H2, keyed(message("codex-5")))
    );
    assert_error(&slow, 408, "invalid_request_error", "request_timeout");
    assert_error(&silent, 504, "timeout_error", "idle_timeout");
}

#[tokio::test]
async fn body_above_the_limit_of_envoy_is_told_in_the_shape() {
    const LIMIT_BYTES: usize = 16 << 20;
    let (upstream, envoy) = start_with(Behavior::Echo, |options| {
        options.filter("max_body_bytes", (LIMIT_BYTES * 2).into())
    })
    .await;
    let text = "a".repeat(LIMIT_BYTES);
    let body = json!({"messages": text, "model": "codex-5"}).to_string();
    let response = send(&envoy, Version::H2, keyed(post(MESSAGES, body))).await;
    assert_error(&response, 413, "invalid_request_error", "request_too_large");
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn sidecar_that_speaks_no_http_is_told_in_the_shape() {
    let response = from_malformed_sidecar(keyed(message("codex-5"))).await;
    assert_error(&response, 502, "api_error", "codex_failed");
}

#[tokio::test]
async fn unconfigured_gateway_is_told_in_the_shape() {
    let upstream = tests::upstream::Upstream::start(Behavior::Echo);
    let envoy = Envoy::start(options(&upstream).filter("no_such_field", json!(1))).await;
    let response = send(&envoy, Version::H1, keyed(message("codex-5"))).await;
    assert_error(&response, 503, "api_error", "gateway_unconfigured");
    assert_eq!(response.header("retry-after"), "5");
}

#[tokio::test]
async fn preflight_allows_the_headers_of_the_api() {
    let (_upstream, envoy) = start_with(Behavior::Echo, |options| options).await;
    let request = with(
        empty(Method::OPTIONS, MESSAGES),
        "origin",
        "https://app.example",
    );
    let request = with(request, "access-control-request-method", "POST");
    let response = send(&envoy, Version::H1, request).await;
    assert_eq!(response.status, 204, "{response:?}");
    let allowed = response
        .header("access-control-allow-headers")
        .to_lowercase();
    for name in [
        "x-api-key",
        "anthropic-version",
        "anthropic-beta",
        "anthropic-dangerous-direct-browser-access",
    ] {
        assert!(
            allowed.split(", ").any(|header| header.trim() == name),
            "{name}: {allowed}"
        );
    }
    assert_eq!(response.header("allow"), "POST, HEAD, OPTIONS");
}
