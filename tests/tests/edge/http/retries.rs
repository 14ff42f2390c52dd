//! What the sidecar did nothing for is sent to it again; for what it may have begun, see `error_shapes` and `headers`.
//! Follows the retry policy of `envoy.yaml`.

use std::time::Duration;

use tests::http::{DEADLINE, Version, bearer, post};
use tests::upstream::Script;
use tokio::time::{sleep, timeout};

use crate::stack::{CHAT, KEY, start_with};

/// What a sidecar says that did nothing for a request; the status does not matter.
const UNBEGUN: Script = Script::Fields(&[("x-should-retry", "true")]);

/// A chat with a body of this size at least.
fn chat(octets: usize) -> http::Request<tests::http::Body> {
    let words = "w".repeat(octets);
    let body =
        format!(r#"{{"messages":[{{"role":"user","content":"{words}"}}],"model":"codex-5"}}"#);
    bearer(post(CHAT, body), KEY)
}

#[tokio::test]
async fn unstarted_request_is_retried_with_its_whole_body() {
    for version in [Version::H1, Version::H2] {
        let (upstream, envoy) = start_with(UNBEGUN, |options| options).await;
        let mut client = envoy.connect(version).await;
        let octets = 8 << 20;
        let ready = async {
            while upstream.seen().len() < 2 {
                sleep(Duration::from_millis(10)).await;
            }
            upstream.follow(Script::Echo);
        };
        let both = async { tokio::join!(client.send(chat(octets)), ready).0 };
        let answer = timeout(DEADLINE, both).await.unwrap().unwrap();
        assert_eq!(answer.header("x-should-retry"), "", "{version:?}");
        let seen = upstream.seen();
        assert!(seen.len() > 2 && seen[0].body.len() > octets);
        for again in &seen[1..] {
            assert!(again.body == seen[0].body, "{version:?}");
            assert_eq!(again.header("x-request-id"), seen[0].header("x-request-id"));
        }
    }
}
