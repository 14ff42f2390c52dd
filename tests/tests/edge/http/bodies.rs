//! Bodies up to 16 MiB pass, longer ones get a 413 and reach nobody.
//! Follows `request_body_buffer_limit` and `max_request_bytes` in `envoy.yaml`, and the filter's own bound.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tests::http::{Body, Version, bearer, post, raw};

use crate::stack::{CHAT, KEY, assert_error, raw_request, start};

const LIMIT: usize = 16 << 20;
const PIECE: usize = 64 << 10;

/// A chat request's JSON of `octets` octets, with the model at the far end, where official clients put it.
fn chat_body(octets: usize) -> Bytes {
    let (before, after) = (
        r#"{"messages":[{"role":"user","content":""#,
        r#""}],"model":"codex-5"}"#,
    );
    let text = "a".repeat(octets - before.len() - after.len());
    format!("{before}{text}{after}").into()
}

/// `request` with its body in pieces and without a declared length.
fn in_pieces(path: &str, body: &Bytes) -> Request<Body> {
    let pieces: Vec<_> = (0..body.len())
        .step_by(PIECE)
        .map(|start| body.slice(start..body.len().min(start + PIECE)))
        .map(|piece| Ok::<_, Infallible>(Frame::data(piece)))
        .collect();
    post(path, "").map(|_| StreamBody::new(stream::iter(pieces)).boxed())
}

#[tokio::test]
async fn body_of_16_mib_is_forwarded() {
    let (upstream, envoy) = start().await;
    let body = chat_body(LIMIT);
    for path in [CHAT, "/v1/other"] {
        for version in [Version::H1, Version::H2] {
            for request in [post(path, body.clone()), in_pieces(path, &body)] {
                let answer = envoy
                    .connect(version)
                    .await
                    .send(bearer(request, KEY))
                    .await
                    .unwrap();
                assert_eq!(
                    answer.status,
                    StatusCode::OK,
                    "{path} {version:?}: {answer:?}"
                );
                assert!(
                    upstream.seen().last().unwrap().body == body,
                    "{path} {version:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn body_one_byte_above_16_mib_is_413() {
    let (upstream, envoy) = start().await;
    let body = chat_body(LIMIT + 1);
    for path in [CHAT, "/v1/other"] {
        let declared = format!("content-length: {}\r\n", body.len());
        let request = raw_request(&format!("POST {path} HTTP/1.1"), &declared, "");
        assert_error(
            &raw(envoy.address(), &request).await,
            413,
            "invalid_request_error",
            "request_too_large",
        );
        let request = bearer(in_pieces(path, &body), KEY);
        let answer = envoy
            .connect(Version::H2)
            .await
            .send(request)
            .await
            .unwrap();
        assert_error(&answer, 413, "invalid_request_error", "request_too_large");
    }
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn envoy_enforces_the_body_limit_without_the_filter() {
    let (upstream, envoy) = crate::stack::start_with(tests::upstream::Script::Echo, |options| {
        options.filter("max_body_bytes", (LIMIT * 2).into())
    })
    .await;
    let body = chat_body(LIMIT + 1);
    for path in [CHAT, "/v1/other"] {
        let request = bearer(in_pieces(path, &body), KEY);
        let answer = envoy
            .connect(Version::H2)
            .await
            .send(request)
            .await
            .unwrap();
        assert_error(&answer, 413, "invalid_request_error", "request_too_large");
    }
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn unauthenticated_request_is_rejected_before_its_body() {
    let (upstream, envoy) = start().await;
    let request = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: edge\r\nconnection: close\r\ncontent-length: {LIMIT}\r\n\r\n"
    );
    let answer = raw(envoy.address(), request.as_bytes()).await;
    assert_error(&answer, 401, "authentication_error", "invalid_api_key");
    assert!(upstream.seen().is_empty());
}
