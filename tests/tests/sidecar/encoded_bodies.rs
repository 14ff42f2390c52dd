//! Compressed request bodies: decoded up to the limit of a body, and refused beyond it.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::Request;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde_json::json;
use tests::http::{Body, post, with};

use crate::stack::{assert_error, start, start_with};

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let written = encoder.write_all(body).and_then(|()| encoder.finish());
    written.expect("a vector takes every write")
}

fn zstd(body: &[u8]) -> Vec<u8> {
    compress_to_vec(body, CompressionLevel::Fastest)
}

fn encoded(path: &str, encoding: &str, body: Vec<u8>) -> Request<Body> {
    with(post(path, body), "content-encoding", encoding)
}

#[tokio::test]
async fn gzip_and_zstd_bodies_are_decoded_on_each_route() {
    let (model, sidecar) = start().await;
    let prompt = r#"[[model:{"text":"Hi."}]]"#;
    let messages = json!([{"role": "user", "content": prompt}]);
    for (path, body) in [
        (
            "/v1/chat/completions",
            json!({"model": "codex-5", "messages": messages}),
        ),
        (
            "/v1/completions",
            json!({"model": "codex-5", "prompt": prompt}),
        ),
        (
            "/v1/responses",
            json!({"model": "codex-5", "input": prompt}),
        ),
    ] {
        let plain = body.to_string().into_bytes();
        for request in [
            encoded(path, "gzip", gzip(&plain)),
            encoded(path, "zstd", zstd(&plain)),
            encoded(path, "identity", plain),
        ] {
            let response = sidecar.connect().await.send(request).await.unwrap();
            assert_eq!(response.status, 200, "{path}: {response:?}");
            assert!(response.json().to_string().contains("Hi."));
        }
    }
    assert_eq!(model.requests().len(), 9);
}

#[tokio::test]
async fn bomb_is_refused_and_a_body_at_the_limit_is_not() {
    const LIMIT: usize = 100_000;
    let limit = LIMIT.to_string();
    let (model, sidecar) = start_with(|options| options.env("PROXY_MAX_BODY_BYTES", &limit)).await;
    let path = "/v1/chat/completions";
    let mut fits = json!({"messages": []}).to_string().into_bytes();
    fits.resize(LIMIT, b' ');
    for (body, status, code) in [
        (vec![b' '; 64 << 20], 413, "request_too_large"),
        (vec![b' '; LIMIT + 1], 413, "request_too_large"),
        (fits, 400, "invalid_request_error"),
    ] {
        for request in [
            encoded(path, "gzip", gzip(&body)),
            encoded(path, "zstd", zstd(&body)),
        ] {
            let response = sidecar.connect().await.send(request).await.unwrap();
            assert_error(&response, status, code);
        }
    }
    for encoding in ["br", "gzip, gzip"] {
        let request = encoded(path, encoding, b"{}".to_vec());
        let response = sidecar.connect().await.send(request).await.unwrap();
        assert_error(&response, 415, "unsupported_media_type");
        let message = response.json()["error"]["message"].to_string();
        for accepted in ["gzip", "zstd", "identity"] {
            assert!(message.contains(accepted), "{message}");
        }
    }
    assert_eq!(model.requests().len(), 0);
}
