//! HTTP/1.1 and HTTP/2 with prior knowledge on one port. The error for other protocols names a supported alternative.
//! Follows RFC 9112 and RFC 9113.

use http::{Method, StatusCode};
use tests::http::{Version, bearer, empty, raw};

use crate::stack::{CHAT, GUARDED, KEY, assert_error, chat, keyed_get, raw_request, start};

#[tokio::test]
async fn http1_and_http2_requests_reach_the_upstream_identically() {
    let (upstream, envoy) = start().await;
    for version in [Version::H1, Version::H2] {
        let mut client = envoy.connect(version).await;
        for request in [
            keyed_get(GUARDED),
            chat(),
            bearer(empty(Method::HEAD, CHAT), KEY),
        ] {
            let method = request.method().clone();
            let response = client.send(request).await.unwrap();
            assert_eq!(response.status, StatusCode::OK, "{version:?} {method}");
            assert_eq!(
                response.body.is_empty(),
                method == Method::HEAD,
                "{version:?} {method}"
            );
        }
    }
    let heads: Vec<_> = upstream
        .requests()
        .into_iter()
        .map(|received| (received.head.method, received.head.uri))
        .collect();
    assert_eq!(heads[..3], heads[3..]);
    assert_eq!(heads.len(), 6);
}

#[tokio::test]
async fn h2c_upgrade_offer_is_served_over_http1() {
    let (_upstream, envoy) = start().await;
    let headers = "upgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n";
    let request = String::from_utf8(raw_request("GET /v1/models HTTP/1.1", headers, ""))
        .unwrap()
        .replace(
            "connection: close",
            "connection: close, upgrade, http2-settings",
        );
    assert_eq!(
        raw(envoy.address(), request.as_bytes()).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn http10_is_rejected_with_an_alternative() {
    let (upstream, envoy) = start().await;
    let http_1_0 = raw(
        envoy.address(),
        &raw_request("GET /v1/models HTTP/1.0", "", ""),
    )
    .await;
    let error = assert_error(
        &http_1_0,
        426,
        "invalid_request_error",
        "http_version_not_supported",
    );
    assert!(error["message"].as_str().unwrap().contains("HTTP/1.1"));
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn websocket_is_rejected_with_426_with_and_without_a_key() {
    let (upstream, envoy) = start().await;
    let handshake = "upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n";
    let keyed = format!("{handshake}authorization: Bearer {KEY}\r\n");
    for (path, headers) in [
        ("/v1/responses", handshake),
        ("/v1/responses", &keyed),
        ("/v1/models", &keyed),
    ] {
        let request = raw_request(&format!("GET {path} HTTP/1.1"), headers, "");
        let request = String::from_utf8(request)
            .unwrap()
            .replace("connection: close", "connection: upgrade");
        let response = raw(envoy.address(), request.as_bytes()).await;
        let error = assert_error(
            &response,
            426,
            "invalid_request_error",
            "upgrade_not_supported",
        );
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("server-sent events"), "{message}");
        assert_eq!(response.header("upgrade"), "HTTP/1.1", "{path}");
        assert_eq!(response.header("connection"), "upgrade", "{path}");
    }
    assert!(upstream.requests().is_empty());
}
