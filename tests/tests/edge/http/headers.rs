//! Request headers that a client must not be able to set, and limits for the size and number of headers.
//! Follows Envoy's "Configuring Envoy as an edge proxy".

use http::StatusCode;
use serde_json::json;
use tests::http::{Version, raw, with};
use tests::upstream::Behavior;

use crate::stack::{GUARDED, assert_error, chat, keyed_get, raw_request, start, start_with};

#[tokio::test]
async fn identity_headers_with_underscores_are_removed_and_others_pass() {
    let (upstream, envoy) = start().await;
    for version in [Version::H1, Version::H2] {
        let request = with(keyed_get(GUARDED), "x_codex_edge_client", "forged");
        let request = with(request, "session_id", "s1");
        let mut client = envoy.connect(version).await;
        assert_eq!(client.send(request).await.unwrap().status, 200);
        let requests = upstream.requests();
        let received = requests.last().unwrap();
        assert_eq!(received.header("x_codex_edge_client"), "");
        assert_eq!(received.header("x-codex-edge-client"), "default");
        assert_eq!(received.header("session_id"), "s1");
    }
}

#[tokio::test]
async fn identity_headers_from_a_client_are_replaced() {
    let (upstream, envoy) = start().await;
    let request = with(
        with(keyed_get(GUARDED), "x-codex-edge-client", "forged"),
        "X-Codex-Edge-Admin",
        "true",
    );
    envoy
        .connect(Version::H1)
        .await
        .send(request)
        .await
        .unwrap();
    let received = &upstream.requests()[0];
    assert_eq!(received.header("x-codex-edge-client"), "default");
    assert_ne!(received.header("x-codex-edge-admin"), "true");
    assert_eq!(received.header("authorization"), "");
}

#[tokio::test]
async fn envoy_control_headers_from_a_client_are_ignored() {
    let failure = json!({"error": {"message": "from the upstream"}});
    let (upstream, envoy) = start_with(
        Behavior::Json(StatusCode::BAD_GATEWAY, failure),
        |options| options,
    )
    .await;
    let mut request = with(chat(), "x-envoy-retry-on", "5xx,reset,gateway-error");
    for (name, value) in [
        ("x-envoy-max-retries", "5"),
        ("x-envoy-upstream-rq-timeout-ms", "1"),
        ("x-envoy-upstream-rq-per-try-timeout-ms", "1"),
        ("x-envoy-internal", "true"),
    ] {
        request = with(request, name, value);
    }
    let response = envoy
        .connect(Version::H1)
        .await
        .send(request)
        .await
        .unwrap();
    assert_eq!(response.status, StatusCode::BAD_GATEWAY);
    let received = upstream.requests();
    assert_eq!(received.len(), 1, "a turn never runs twice");
    let envoy_headers: Vec<_> = received[0]
        .head
        .headers
        .keys()
        .map(|name| name.as_str())
        .filter(|name| name.starts_with("x-envoy-"))
        .collect();
    assert_eq!(envoy_headers, ["x-envoy-external-address"]);
}

#[tokio::test]
async fn client_address_is_the_tcp_peer() {
    let (upstream, envoy) = start().await;
    let request = with(
        with(keyed_get(GUARDED), "x-forwarded-for", "203.0.113.9"),
        "x-envoy-external-address",
        "203.0.113.9",
    );
    envoy
        .connect(Version::H1)
        .await
        .send(request)
        .await
        .unwrap();
    assert_eq!(
        upstream.requests()[0].header("x-envoy-external-address"),
        "127.0.0.1"
    );
}

#[tokio::test]
async fn headers_above_64_kib_are_rejected() {
    let (upstream, envoy) = start().await;
    let large = |length| with(keyed_get(GUARDED), "x-large", &"a".repeat(length));
    for version in [Version::H1, Version::H2] {
        let response = envoy
            .connect(version)
            .await
            .send(large(63 << 10))
            .await
            .unwrap();
        assert_eq!(response.status, StatusCode::OK, "{version:?}");
    }
    assert_eq!(upstream.requests().len(), 2);
    let headers = format!("x-large: {}\r\n", "a".repeat(65 << 10));
    let response = raw(
        envoy.address(),
        &raw_request("GET /v1/usage HTTP/1.1", &headers, ""),
    )
    .await;
    assert_error(&response, 431, "invalid_request_error", "headers_too_large");
    assert!(
        envoy
            .connect(Version::H2)
            .await
            .send(large(65 << 10))
            .await
            .is_err(),
        "the stream is reset"
    );
    assert_eq!(upstream.requests().len(), 2);
}

#[tokio::test]
async fn more_than_100_headers_are_rejected() {
    let (upstream, envoy) = start().await;
    let headers: String = (0..100).map(|index| format!("x-{index}: 1\r\n")).collect();
    let response = raw(
        envoy.address(),
        &raw_request("GET /v1/usage HTTP/1.1", &headers, ""),
    )
    .await;
    assert_error(&response, 431, "invalid_request_error", "headers_too_large");
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn response_has_no_server_or_envoy_headers() {
    let (_upstream, envoy) = start().await;
    for path in [GUARDED, "/v1%2fmodels"] {
        let response = envoy
            .connect(Version::H1)
            .await
            .send(keyed_get(path))
            .await
            .unwrap();
        let identifies_envoy = |name: &&str| *name == "server" || name.starts_with("x-envoy-");
        let names: Vec<_> = response
            .headers
            .keys()
            .map(|name| name.as_str())
            .filter(identifies_envoy)
            .collect();
        assert!(names.is_empty(), "{names:?} of {path}");
    }
}

/// RFC 9112, section 3.2: a request with several `host` headers is invalid, since servers differ in the one they read.
/// Envoy drops an empty one, so that the other is the only host for every server.
#[tokio::test]
async fn repeated_host_is_400() {
    let (upstream, envoy) = start().await;
    for host in ["host: other", "host: edge", "Host: edge:443"] {
        for path in [GUARDED, "/healthz", "/v1/models"] {
            let line = format!("GET {path} HTTP/1.1");
            let request = raw_request(&line, &format!("{host}\r\n"), "");
            let response = raw(envoy.address(), &request).await;
            let code = "invalid_request_error";
            assert_error(&response, 400, "invalid_request_error", code);
        }
    }
    assert_eq!(upstream.requests().len(), 0);
}
