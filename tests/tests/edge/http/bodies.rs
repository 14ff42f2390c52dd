//! Request bodies: up to 16 MiB are forwarded, longer ones get a 413 and do not reach the upstream.
//! Follows `request_body_buffer_limit` and `max_request_bytes` in `envoy.yaml`, and the filter's `max_body_bytes`.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tests::http::{Body, Version, bearer, post, raw};

use crate::stack::{CHAT, KEY, assert_error, raw_request, start};

const LIMIT_BYTES: usize = 16 << 20;
const FRAME_BYTES: usize = 64 << 10;

/// Returns the JSON of a chat request of `length` bytes, with the model at the end, where official clients put it.
fn chat_body(length: usize) -> Bytes {
    let (before, after) = (
        r#"{"messages":[{"role":"user","content":""#,
        r#""}],"model":"codex-5"}"#,
    );
    let text = "a".repeat(length - before.len() - after.len());
    format!("{before}{text}{after}").into()
}

/// Returns a `POST` request with `body` in frames and without a declared length.
fn in_frames(path: &str, body: &Bytes) -> Request<Body> {
    let frames: Vec<_> = (0..body.len())
        .step_by(FRAME_BYTES)
        .map(|start| body.slice(start..body.len().min(start + FRAME_BYTES)))
        .map(|chunk| Ok::<_, Infallible>(Frame::data(chunk)))
        .collect();
    post(path, "").map(|_| StreamBody::new(stream::iter(frames)).boxed())
}

#[tokio::test]
async fn body_of_16_mib_is_forwarded() {
    let (upstream, envoy) = start().await;
    let body = chat_body(LIMIT_BYTES);
    for path in [CHAT, "/v1/other"] {
        for version in [Version::H1, Version::H2] {
            for request in [post(path, body.clone()), in_frames(path, &body)] {
                let response = envoy
                    .connect(version)
                    .await
                    .send(bearer(request, KEY))
                    .await
                    .unwrap();
                assert_eq!(
                    response.status,
                    StatusCode::OK,
                    "{path} {version:?}: {response:?}"
                );
                assert!(
                    upstream.requests().last().unwrap().body == body,
                    "{path} {version:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn body_one_byte_above_16_mib_is_413() {
    let (upstream, envoy) = start().await;
    let body = chat_body(LIMIT_BYTES + 1);
    for path in [CHAT, "/v1/other"] {
        let declared = format!("content-length: {}\r\n", body.len());
        let request = raw_request(&format!("POST {path} HTTP/1.1"), &declared, "");
        assert_error(
            &raw(envoy.address(), &request).await,
            413,
            "invalid_request_error",
            "request_too_large",
        );
        let request = bearer(in_frames(path, &body), KEY);
        let response = envoy
            .connect(Version::H2)
            .await
            .send(request)
            .await
            .unwrap();
        assert_error(&response, 413, "invalid_request_error", "request_too_large");
    }
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn envoy_enforces_the_body_limit_without_the_filter() {
    let (upstream, envoy) = crate::stack::start_with(tests::upstream::Behavior::Echo, |options| {
        options.filter("max_body_bytes", (LIMIT_BYTES * 2).into())
    })
    .await;
    let body = chat_body(LIMIT_BYTES + 1);
    for path in [CHAT, "/v1/other"] {
        let request = bearer(in_frames(path, &body), KEY);
        let response = envoy
            .connect(Version::H2)
            .await
            .send(request)
            .await
            .unwrap();
        assert_error(&response, 413, "invalid_request_error", "request_too_large");
    }
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn unauthenticated_request_is_rejected_before_its_body() {
    let (upstream, envoy) = start().await;
    let request = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: edge\r\nconnection: close\r\ncontent-length: {LIMIT_BYTES}\r\n\r\n"
    );
    let response = raw(envoy.address(), request.as_bytes()).await;
    assert_error(&response, 401, "authentication_error", "invalid_api_key");
    assert!(upstream.requests().is_empty());
}
