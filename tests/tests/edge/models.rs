//! The model in a request body: the filter reads the same value as a JSON parser, however the body is framed.
//! Follows RFC 8259; a body may have no declared length and may end with trailers (RFC 9113, section 8.1).

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::json;
use tests::envoy::EnvoyOptions;
use tests::http::{Body, Version, bearer, post, with};
use tests::upstream::Behavior;

use crate::stack::{CHAT, Edges, GUARDED, assert_error, listed_models};

/// A key for every model.
const ALICE: &str = "sk-alice";
/// A key for `codex-5*` only, which does not include the default model.
const BOB: &str = "sk-bob";

fn two_keys(options: EnvoyOptions) -> EnvoyOptions {
    let keys =
        json!([{"id": "alice", "key": ALICE}, {"id": "bob", "key": BOB, "models": ["codex-5*"]}]);
    listed_models(options.filter("keys", keys))
}

/// Returns a request with `body` in frames of `size` bytes and without a declared length, optionally with trailers.
fn in_frames(body: &[u8], size: usize, trailers: bool) -> Request<Body> {
    let name = HeaderName::from_static("x-checksum");
    let trailer = HeaderMap::from_iter([(name, HeaderValue::from_static("1"))]);
    let frames: Vec<_> = body
        .chunks(size)
        .map(|chunk| Frame::data(Bytes::copy_from_slice(chunk)))
        .chain(trailers.then(|| Frame::trailers(trailer)))
        .map(Ok::<_, Infallible>)
        .collect();
    let request = post(CHAT, "").map(|_| StreamBody::new(stream::iter(frames)).boxed());
    with(request, "trailer", "x-checksum")
}

#[tokio::test]
async fn model_is_read_as_a_json_parser_reads_it() {
    const MALFORMED: &str = "400 invalid_json";
    const NOT_A_STRING: &str = "400 invalid_request_error";
    const UNKNOWN: &str = "404 model_not_found";
    const NOT_ALLOWED: &str = "403 model_not_allowed";
    let long = format!(
        r#"{{"messages":["{}"],"model":"codex-5"}}"#,
        "a".repeat(100_000)
    );
    let deep = format!(
        r#"{{"a":{}1{},"model":"gpt-5"}}"#,
        "[".repeat(100),
        "]".repeat(100)
    );
    let too_deep = format!(
        r#"{{"a":{}1{},"model":"gpt-5"}}"#,
        "[".repeat(200),
        "]".repeat(200)
    );
    // A body, the outcome with the key of alice, and the outcome with the key of bob.
    let cases: [(&str, &str, &str); 29] = [
        (r#"{"model":"codex-5","messages":[]}"#, "200", "200"),
        (r#"{"messages":[],"model":"codex-5"}"#, "200", "200"),
        (
            r#" { "messages" : [ ] , "model" : "codev-5-low" } "#,
            "200",
            NOT_ALLOWED,
        ),
        (&long, "200", "200"),
        (&deep, "200", NOT_ALLOWED),
        (&too_deep, MALFORMED, MALFORMED),
        (r#"{"messages":[]}"#, "200", NOT_ALLOWED),
        (r#"{"model":null}"#, "200", NOT_ALLOWED),
        (r#"{"metadata":{"model":"codex-5"}}"#, "200", NOT_ALLOWED),
        (
            r#"{"metadata":{"model":"gpt-4"},"model":"codex-5"}"#,
            "200",
            "200",
        ),
        (
            r#"{"messages":["\"model\":\"gpt-4\""],"model":"codex-5"}"#,
            "200",
            "200",
        ),
        (r#"{"a":"\\","model":"codex-5"}"#, "200", "200"),
        (r#"{"mod\u0065l":"codex-5"}"#, "200", "200"),
        (r#"{"mod\u0065l":"gpt-5"}"#, "200", NOT_ALLOWED),
        (r#"{"model":"c\u006fdex-5"}"#, "200", "200"),
        (r#"{"model":"CODEX-5"}"#, "200", "200"),
        (r#"{"ключ":"значение 🙂","model":"codex-5"}"#, "200", "200"),
        (r#"{"model":"gpt-4"}"#, UNKNOWN, UNKNOWN),
        (r#"{"model":""}"#, UNKNOWN, UNKNOWN),
        (r#"{"model":"gpt-4","model":"codex-5"}"#, UNKNOWN, UNKNOWN),
        (
            r#"{"mod\u0065l":"gpt-4","model":"codex-5"}"#,
            UNKNOWN,
            UNKNOWN,
        ),
        (r#"{"model":5}"#, NOT_A_STRING, NOT_A_STRING),
        (r#"{"model":["codex-5"]}"#, NOT_A_STRING, NOT_A_STRING),
        (r#"["model","codex-5"]"#, MALFORMED, MALFORMED),
        (r#"{"messages":[}"#, MALFORMED, MALFORMED),
        (r#"{"messages":["#, MALFORMED, MALFORMED),
        (
            r#"{"messages":[]} {"model":"codex-5"}"#,
            MALFORMED,
            MALFORMED,
        ),
        ("model=codex-5", MALFORMED, MALFORMED),
        ("", MALFORMED, MALFORMED),
    ];
    let edges = Edges::start(Behavior::Echo, two_keys).await;
    for (body, alice_outcome, bob_outcome) in cases {
        for (key, expected) in [(ALICE, alice_outcome), (BOB, bob_outcome)] {
            let before = edges.requests().len();
            let size = body.len().div_ceil(7).max(1);
            edges
                .check(|| bearer(post(CHAT, body.to_owned()), key), expected)
                .await;
            edges
                .check(
                    || bearer(in_frames(body.as_bytes(), size, false), key),
                    expected,
                )
                .await;
            edges
                .check(
                    || bearer(in_frames(body.as_bytes(), size, true), key),
                    expected,
                )
                .await;
            // Three requests in two HTTP versions, for each edge.
            let forwarded = if expected == "200" { 6 } else { 0 };
            assert_eq!(edges.requests().len() - before, forwarded * 2, "{body}");
            for (upstream, _) in edges.each() {
                let received = upstream.requests();
                let mut last = received.iter().rev().take(forwarded);
                assert!(last.all(|received| received.body == body), "{body}");
            }
        }
    }
}

/// Without a list the upstream knows the models: the filter checks only those that a key is restricted to.
#[tokio::test]
async fn upstream_decides_on_models_without_a_list() {
    let edges = Edges::start(Behavior::Echo, |options| {
        let keys = json!([
            {"id": "alice", "key": ALICE},
            {"id": "bob", "key": BOB, "models": ["codex-5*"]},
        ]);
        options.filter("keys", keys)
    })
    .await;
    const NOT_ALLOWED: &str = "403 model_not_allowed";
    const REQUIRED: &str = "400 invalid_request_error";
    for (body, alice_outcome, bob_outcome) in [
        (r#"{"model":"codex-5-xhigh"}"#, "200", "200"),
        (r#"{"model":"of-tomorrow"}"#, "200", NOT_ALLOWED),
        (r#"{"messages":[]}"#, "200", REQUIRED),
        (r#"{"model":5}"#, REQUIRED, REQUIRED),
    ] {
        for (key, expected) in [(ALICE, alice_outcome), (BOB, bob_outcome)] {
            edges
                .check(|| bearer(post(CHAT, body), key), expected)
                .await;
        }
    }
    // The filter cannot read a compressed body: it leaves the model to the upstream, or refuses the body.
    for (key, expected) in [(ALICE, "200"), (BOB, "415 unsupported_media_type")] {
        let compressed = || with(post(CHAT, "not read"), "content-encoding", "gzip");
        edges.check(|| bearer(compressed(), key), expected).await;
    }
}

/// The filter reads only the first `model`; the sidecar rejects a duplicate field, so the second one has no effect.
#[tokio::test]
async fn duplicate_model_is_checked_by_its_first_value() {
    let edges = Edges::start(Behavior::Echo, two_keys).await;
    for (body, expected) in [
        (r#"{"model":"codex-5","model":"gpt-5"}"#, "200"),
        (
            r#"{"model":"gpt-5","model":"codex-5"}"#,
            "403 model_not_allowed",
        ),
    ] {
        edges
            .check(|| bearer(post(CHAT, body), BOB), expected)
            .await;
    }
}

#[tokio::test]
async fn character_split_across_frames_is_decoded() {
    let edges = Edges::start(Behavior::Echo, two_keys).await;
    let body = r#"{"ключ":"🙂","model":"codex-5"}"#;
    edges
        .check(|| bearer(in_frames(body.as_bytes(), 1, true), BOB), "200")
        .await;
    assert!(
        edges
            .requests()
            .iter()
            .all(|received| received.body == body)
    );
}

#[tokio::test]
async fn model_rejection_names_the_param_and_the_model() {
    let edges = Edges::start(Behavior::Echo, two_keys).await;
    for (key, model, status, kind, code) in [
        (
            ALICE,
            "gpt-4",
            404,
            "invalid_request_error",
            "model_not_found",
        ),
        (BOB, "gpt-5", 403, "permission_error", "model_not_allowed"),
    ] {
        let body = json!({"messages": [], "model": model}).to_string();
        let request = || bearer(post(CHAT, body.clone()), key);
        for response in edges.check(request, &format!("{status} {code}")).await {
            let error = assert_error(&response, status, kind, code);
            assert_eq!(error["param"], "model");
            assert!(
                error["message"].as_str().unwrap().contains(model),
                "{error}"
            );
        }
    }
}

#[tokio::test]
async fn body_above_max_body_bytes_is_rejected_in_either_mode() {
    let limit = 2000;
    let edges = Edges::start(Behavior::Echo, |options| {
        two_keys(options).filter("max_body_bytes", json!(limit))
    })
    .await;
    let body_of = |length: usize, model_first: bool| {
        // 33 bytes are the JSON around the text.
        let (model, rest) = (r#""model":"codex-5""#, length - 33);
        let text = format!(r#""messages":"{}""#, "a".repeat(rest));
        let body = if model_first {
            format!("{{{model},{text}}}")
        } else {
            format!("{{{text},{model}}}")
        };
        assert_eq!(body.len(), length);
        body
    };
    for model_first in [true, false] {
        for (length, expected) in [(limit, "200"), (limit + 1, "413 request_too_large")] {
            let body = body_of(length, model_first);
            edges
                .check(|| bearer(post(CHAT, body.clone()), BOB), expected)
                .await;
            edges
                .check(|| bearer(post(GUARDED, body.clone()), BOB), expected)
                .await;
            for trailers in [false, true] {
                let request = || bearer(in_frames(body.as_bytes(), 500, trailers), BOB);
                edges.check(request, expected).await;
            }
        }
    }
    assert!(
        edges
            .requests()
            .iter()
            .all(|received| received.body.len() == limit)
    );
}

#[tokio::test]
async fn body_is_streamed_once_the_model_is_known() {
    let edges = Edges::start(Behavior::NeverRead, two_keys).await;
    for (_, envoy) in edges.each() {
        let first_frame = format!(
            r#"{{"model":"codex-5","messages":"{}"#,
            "a".repeat(64 << 10)
        );
        let mut client = envoy.connect(Version::H2).await;
        let frames = stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from(first_frame)))]);
        let unfinished = futures_util::StreamExt::chain(frames, stream::pending());
        let request = bearer(
            post(CHAT, "").map(|_| BodyExt::boxed(StreamBody::new(unfinished))),
            BOB,
        );
        let upload = client.stream(request);
        let connected = envoy.wait_for_stat("cluster.sidecar.upstream_rq_total", 1);
        tokio::select! {
            () = connected => {}
            response = upload => panic!("a response to an unfinished request: {response:?}"),
        }
    }
}
