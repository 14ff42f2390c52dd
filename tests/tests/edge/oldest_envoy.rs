//! The filter alone, as it ships, in the oldest Envoy with a Wasm runtime, with the least configuration around it, and
//! in both settings of `hold_headers`. Service meshes run such versions.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::json;
use tests::envoy::EnvoyOptions;
use tests::http::{Body, bearer, empty, get, post, with};
use tests::upstream::Behavior;

use crate::stack::{CHAT, Edges, GUARDED, KEY, chat, listed_models};

const BOOTSTRAP: &str = include_str!("oldest_envoy.yaml");

async fn start(change: impl Fn(EnvoyOptions) -> EnvoyOptions) -> Edges {
    Edges::start(Behavior::Echo, |options| change(options.oldest(BOOTSTRAP))).await
}

/// Returns a chat request whose body names `model` after 100 kB, in chunks without a declared length.
fn long_chat(model: &str) -> Request<Body> {
    let filler = "a".repeat(100_000);
    let text = json!({"messages": [filler], "model": model}).to_string();
    let chunks: Vec<_> = text
        .as_bytes()
        .chunks(1000)
        .map(|chunk| Ok::<_, Infallible>(Frame::data(Bytes::copy_from_slice(chunk))))
        .collect();
    bearer(
        post(CHAT, "").map(|_| StreamBody::new(stream::iter(chunks)).boxed()),
        KEY,
    )
}

#[tokio::test]
async fn oldest_envoy_runs_the_checks_of_the_filter() {
    let edges = start(listed_models).await;
    edges.check(|| get(GUARDED), "401 invalid_api_key").await;
    edges
        .check(|| bearer(chat(), "wrong"), "401 invalid_api_key")
        .await;
    let unknown = || bearer(post(CHAT, r#"{"model":"nope"}"#), KEY);
    edges.check(unknown, "404 model_not_found").await;
    // The whole body is decided on before any of it reaches the upstream.
    edges
        .check(|| long_chat("nope"), "404 model_not_found")
        .await;
    assert!(edges.requests().is_empty());

    let origin = "https://app.example";
    let preflight = || {
        let request = with(empty(Method::OPTIONS, CHAT), "origin", origin);
        with(request, "access-control-request-method", "POST")
    };
    for response in edges.check(preflight, "204").await {
        assert_eq!(response.header("access-control-allow-origin"), origin);
    }
    assert!(edges.requests().is_empty());

    edges.check(chat, "200").await;
    edges.check(|| long_chat("codex-5"), "200").await;
    let requests = edges.requests();
    assert_eq!(requests.len(), 8);
    for request in requests {
        assert_eq!(request.header("x-codex-edge-client"), "default");
        assert!(!request.head.headers.contains_key("authorization"));
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(body["model"], "codex-5");
    }
}

#[tokio::test]
async fn oldest_envoy_runs_the_rate_limit_and_the_body_limit() {
    const LIMIT: usize = 4;
    let limit = json!({"enabled": true, "requests": LIMIT, "window_ms": 24 * 60 * 60 * 1000});
    let edges = start(|options| {
        options
            .filter("rate_limit", limit.clone())
            .filter("max_body_bytes", json!(50_000))
    })
    .await;
    // `check` sends each request to an edge twice.
    edges
        .check(|| long_chat("codex-5"), "413 request_too_large")
        .await;
    edges.check(chat, "200").await;
    for response in edges.check(chat, "429 rate_limited").await {
        assert!(response.header("retry-after").parse::<u64>().unwrap() >= 1);
    }
}
