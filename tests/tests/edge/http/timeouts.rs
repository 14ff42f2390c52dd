//! Timeouts of connections, requests and streams.
//! Each timeout of `envoy.yaml` is lowered to [`SHORT`], except the route timeout, which must be disabled.

use std::time::Duration;

use http::StatusCode;
use tests::http::{DEADLINE, Version, raw};
use tests::upstream::Behavior;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::stack::{CHAT, GUARDED, assert_error, chat, keyed_get, raw_request, start, start_with};

/// The lowered timeout of a test.
const SHORT: &str = "0.3s";

#[tokio::test]
async fn incomplete_request_head_times_out_with_408() {
    let short_timeout = format!("request_headers_timeout: {SHORT}");
    let (upstream, envoy) = start_with(Behavior::Echo, |options| {
        options.replace("request_headers_timeout: 10s", &short_timeout)
    })
    .await;
    let response = raw(
        envoy.address(),
        b"GET /v1/models HTTP/1.1\r\nhost: edge\r\nx-slow: ",
    )
    .await;
    assert_error(&response, 408, "invalid_request_error", "request_timeout");
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn incomplete_request_body_times_out_with_408() {
    let short_timeout = format!("request_timeout: {SHORT}");
    let (upstream, envoy) = start_with(Behavior::Echo, |options| {
        options.replace("request_timeout: 120s", &short_timeout)
    })
    .await;
    let request = raw_request(
        &format!("POST {CHAT} HTTP/1.1"),
        "content-length: 100\r\n",
        "{\"model\"",
    );
    let response = raw(envoy.address(), &request).await;
    assert_error(&response, 408, "invalid_request_error", "request_timeout");
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn request_timeout_does_not_limit_the_response_stream() {
    let events = Behavior::Events {
        count: 8,
        every: Duration::from_millis(100),
    };
    let short_timeout = format!("request_timeout: {SHORT}");
    let (_upstream, envoy) = start_with(events, |options| {
        options.replace("request_timeout: 120s", &short_timeout)
    })
    .await;
    let response = envoy.connect(Version::H1).await.send(chat()).await.unwrap();
    assert!(response.body.ends_with(b"data: 7\n\n"), "{response:?}");
}

#[tokio::test]
async fn idle_connection_is_closed() {
    let short_timeout = format!("idle_timeout: {SHORT}");
    let (_upstream, envoy) = start_with(Behavior::Echo, |options| {
        options.replace("idle_timeout: 300s", &short_timeout)
    })
    .await;
    let mut stream = TcpStream::connect(envoy.address()).await.unwrap();
    let closed = timeout(DEADLINE, stream.read(&mut [0]))
        .await
        .expect("the connection is closed");
    assert_eq!(closed.unwrap(), 0);
}

#[tokio::test]
async fn silent_upstream_times_out_with_504() {
    let short_timeout = format!("stream_idle_timeout: {SHORT}");
    let (_upstream, envoy) = start_with(Behavior::NeverRespond, |options| {
        options.replace("stream_idle_timeout: 330s", &short_timeout)
    })
    .await;
    for version in [Version::H1, Version::H2] {
        let response = envoy.connect(version).await.send(chat()).await.unwrap();
        assert_error(&response, 504, "timeout_error", "idle_timeout");
    }
}

#[tokio::test]
async fn stalled_stream_is_aborted_after_the_idle_timeout() {
    let short_timeout = format!("stream_idle_timeout: {SHORT}");
    let stalled = Behavior::Events {
        count: 2,
        every: DEADLINE,
    };
    let (_upstream, envoy) = start_with(stalled, |options| {
        options.replace("stream_idle_timeout: 330s", &short_timeout)
    })
    .await;
    for version in [Version::H1, Version::H2] {
        let mut stream = envoy.connect(version).await.stream(chat()).await.unwrap();
        assert_eq!(stream.next().await.unwrap().unwrap().data, "data: 0\n\n");
        assert!(
            stream.next().await.is_err(),
            "{version:?}: an aborted stream ends with an error"
        );
    }
}

/// Envoy's default route timeout is 15 s. Only a response that takes longer shows that the timeout is disabled.
#[tokio::test]
async fn turn_longer_than_envoys_default_route_timeout_completes() {
    let (upstream, envoy) = start_with(Behavior::NeverRespond, |options| options).await;
    upstream.set_behavior(Behavior::Events {
        count: 2,
        every: Duration::from_secs(16),
    });
    let response = envoy.connect(Version::H1).await.send(chat()).await.unwrap();
    assert_eq!(
        (response.status, &response.body[..]),
        (StatusCode::OK, &b"data: 0\n\ndata: 1\n\n"[..])
    );
}

#[tokio::test]
async fn idle_upstream_connection_is_closed_by_envoy_first() {
    let (upstream, envoy) = start().await;
    let mut client = envoy.connect(Version::H1).await;
    client.send(keyed_get(GUARDED)).await.unwrap();
    envoy
        .wait_for_stat("cluster.sidecar.upstream_cx_idle_timeout", 1)
        .await;
    client.send(keyed_get(GUARDED)).await.unwrap();
    assert_eq!(upstream.connections(), 2);
}
