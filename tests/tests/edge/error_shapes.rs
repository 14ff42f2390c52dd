//! Whoever answers, errors have OpenAI's shape: Envoy's are given it, the filter's and the upstream's stay as they are.
//! Follows `local_reply_config` in `envoy.yaml`; single refusals are tested where their limits are.

use http::{Method, StatusCode};
use serde_json::json;
use tests::envoy::{Envoy, Options};
use tests::http::{Version, bearer, empty, get, post, raw, with};
use tests::upstream::{Script, Upstream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use crate::stack::{
    CHAT, GUARDED, KEY, assert_error, chat, options, raw_request, start, start_with,
};

#[tokio::test]
async fn missing_sidecar_is_503_with_retry_after() {
    let nowhere = Options::new("/nonexistent/sidecar.sock").env("PROXY_API_KEY", KEY);
    let envoy = Envoy::start(nowhere).await;
    for version in [Version::H1, Version::H2] {
        let request = with(chat(), "origin", "https://app.example");
        let answer = envoy.connect(version).await.send(request).await.unwrap();
        assert_error(&answer, 503, "server_error", "codex_unavailable");
        assert_eq!(answer.header("retry-after"), "1");
        assert_eq!(
            answer.header("access-control-allow-origin"),
            "https://app.example"
        );
    }
}

#[tokio::test]
async fn sidecar_disconnect_is_503_and_not_retried() {
    let (upstream, envoy) = start_with(Script::HangUp, |options| options).await;
    let answer = envoy.connect(Version::H1).await.send(chat()).await.unwrap();
    assert_error(&answer, 503, "server_error", "codex_unavailable");
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(upstream.seen().len(), 1, "a turn never runs twice");
}

#[tokio::test]
async fn malformed_sidecar_response_is_502() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("nonsense.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let nonsense = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await.unwrap();
        stream.write_all(b"what?\r\n\r\n").await.unwrap();
    };
    let envoy = Envoy::start(Options::new(socket).env("PROXY_API_KEY", KEY)).await;
    let mut client = envoy.connect(Version::H1).await;
    let (answer, ()) = tokio::join!(client.send(chat()), nonsense);
    assert_error(&answer.unwrap(), 502, "server_error", "codex_failed");
}

#[tokio::test]
async fn connect_request_is_404_unknown_url() {
    let (_upstream, envoy) = start().await;
    let answer = raw(
        envoy.address(),
        &raw_request("CONNECT elsewhere:443 HTTP/1.1", "", ""),
    )
    .await;
    assert_error(&answer, 404, "invalid_request_error", "unknown_url");
}

#[tokio::test]
async fn error_from_the_filter_is_unchanged() {
    let (upstream, envoy) = start().await;
    let send = async |request| {
        envoy
            .connect(Version::H1)
            .await
            .send(request)
            .await
            .unwrap()
    };
    let answer = send(get(GUARDED)).await;
    assert_error(&answer, 401, "authentication_error", "invalid_api_key");
    assert_eq!(answer.header("www-authenticate"), r#"Bearer realm="api""#);
    let answer = send(bearer(
        post(CHAT, r#"{"model":"unheard-of","messages":[]}"#),
        KEY,
    ))
    .await;
    let error = assert_error(&answer, 404, "invalid_request_error", "model_not_found");
    assert_eq!(error["param"], "model");
    let answer = send(bearer(empty(Method::POST, "/verify"), KEY)).await;
    assert_error(&answer, 405, "invalid_request_error", "method_not_allowed");
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn error_from_the_upstream_is_unchanged() {
    let (upstream, envoy) = start().await;
    let body = json!({"error": {"message": "as told", "type": "t", "param": null, "code": "c"}});
    for status in [400, 403, 404, 408, 413, 500, 502, 503, 504] {
        let status = StatusCode::from_u16(status).unwrap();
        upstream.follow(Script::Json(status, body.clone()));
        let answer = envoy.connect(Version::H1).await.send(chat()).await.unwrap();
        assert_eq!((answer.status, answer.json()), (status, body.clone()));
        assert_eq!(answer.header("retry-after"), "");
    }
}

/// Envoy turns a local reply to what looks like gRPC into a 200; to a forward-auth proxy that would mean yes.
#[tokio::test]
async fn rejection_with_a_grpc_content_type_stays_401() {
    let (upstream, envoy) = start().await;
    for version in [Version::H1, Version::H2] {
        for path in ["/verify", GUARDED, CHAT] {
            let request = with(get(path), "content-type", "application/grpc");
            let answer = envoy.connect(version).await.send(request).await.unwrap();
            assert_eq!(
                answer.status,
                StatusCode::UNAUTHORIZED,
                "{version:?} {path}: {answer:?}"
            );
        }
    }
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn invalid_filter_configuration_rejects_all_requests() {
    let upstream = Upstream::start(Script::Echo);
    let envoy = Envoy::start(options(&upstream).filter("no_such_field", json!(1))).await;
    for path in ["/healthz", GUARDED] {
        let answer = envoy
            .connect(Version::H1)
            .await
            .send(bearer(get(path), KEY))
            .await
            .unwrap();
        assert_error(&answer, 503, "server_error", "gateway_unconfigured");
        assert_eq!(answer.header("retry-after"), "5");
    }
    assert!(
        envoy.stderr().contains("no_such_field"),
        "the log names the field"
    );
    assert!(upstream.seen().is_empty());
}
