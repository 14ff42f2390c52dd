//! Retries: Envoy sends a request again that the sidecar did not start. Requests that the sidecar may have started are
//! never retried; see `error_shapes` and `headers`. Follows the retry policy of `envoy.yaml`.

use std::time::Duration;

use futures_util::TryStreamExt;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tests::http::{DEADLINE, Version, bearer, post};
use tests::upstream::Behavior;
use tokio::time::{sleep, timeout};

use crate::stack::{CHAT, KEY, start_with};

/// The response of a sidecar that did not start the request; the status does not matter.
const NOT_STARTED: Behavior = Behavior::Headers(&[("x-should-retry", "true")]);

/// Returns a chat request with a body of more than `length` bytes.
fn chat(length: usize) -> http::Request<tests::http::Body> {
    let text = "w".repeat(length);
    let body =
        format!(r#"{{"messages":[{{"role":"user","content":"{text}"}}],"model":"codex-5"}}"#);
    bearer(post(CHAT, body), KEY)
}

#[tokio::test]
async fn unstarted_request_is_retried_with_its_whole_body() {
    for version in [Version::H1, Version::H2] {
        let (upstream, envoy) = start_with(NOT_STARTED, |options| options).await;
        let mut client = envoy.connect(version).await;
        let length = 200 << 10;
        let ready = async {
            while upstream.requests().len() < 2 {
                sleep(Duration::from_millis(10)).await;
            }
            upstream.set_behavior(Behavior::Echo);
        };
        let completed = async { tokio::join!(client.send(chat(length)), ready).0 };
        let response = timeout(DEADLINE, completed).await.unwrap().unwrap();
        assert_eq!(response.header("x-should-retry"), "", "{version:?}");
        let received = upstream.requests();
        assert!(received.len() > 2 && received[0].body.len() > length);
        for retry in &received[1..] {
            assert!(retry.body == received[0].body, "{version:?}");
            assert_eq!(
                retry.header("x-request-id"),
                received[0].header("x-request-id")
            );
        }
    }
}

/// Envoy keeps a copy of what it may retry, so that it retries neither a large body nor one without a declared length.
#[tokio::test]
async fn large_and_chunked_bodies_are_not_kept_for_retries() {
    for version in [Version::H1, Version::H2] {
        let (upstream, envoy) = start_with(NOT_STARTED, |options| options).await;
        let chunked = chat(1000)
            .map(|body| StreamBody::new(body.into_data_stream().map_ok(Frame::data)).boxed());
        for (sent, request) in [chat(300 << 10), chunked].into_iter().enumerate() {
            let response = envoy.connect(version).await.send(request).await.unwrap();
            assert_eq!(response.header("x-should-retry"), "true", "{version:?}");
            assert_eq!(upstream.requests().len(), sent + 1, "{version:?}");
        }
    }
}
