//! Limits for connections, for streams in a connection, and for Envoy's heap.
//! Follows Envoy's overload manager and RFC 9113, section 6.5.2.

use std::time::Duration;

use http::StatusCode;
use tests::http::{Version, bearer, post};
use tests::upstream::Behavior;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::stack::{CHAT, GUARDED, assert_error, chat, keyed_get, start, start_with};

#[tokio::test]
async fn connection_above_the_limit_is_closed() {
    let limit = |to| format!("max_active_downstream_connections: {to}");
    let (upstream, envoy) = start_with(Behavior::Echo, |options| {
        options.replace(&limit(10_000), &limit(2))
    })
    .await;
    let mut first = envoy.connect(Version::H1).await;
    let mut second = envoy.connect(Version::H1).await;
    assert_eq!(
        first.send(keyed_get(GUARDED)).await.unwrap().status,
        StatusCode::OK
    );
    assert_eq!(
        second.send(keyed_get(GUARDED)).await.unwrap().status,
        StatusCode::OK
    );
    let mut third = envoy.connect(Version::H1).await;
    assert!(third.send(keyed_get(GUARDED)).await.is_err());
    assert_eq!(upstream.requests().len(), 2);
    drop(first);
    let admitted = async {
        while envoy
            .connect(Version::H1)
            .await
            .send(keyed_get(GUARDED))
            .await
            .is_err()
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(5), admitted)
        .await
        .expect("a new connection is accepted once one has closed");
}

/// Envoy closes an HTTP/1 connection when it responds before the end of the request; the filter therefore reads a short
/// body to its end.
#[tokio::test]
async fn rejection_keeps_the_connection_open_unless_the_body_is_long() {
    let (upstream, envoy) = start().await;
    let mut client = envoy.connect(Version::H1).await;
    for (length, connection) in [(1, ""), (60_000, ""), (70_000, "close")] {
        let request = bearer(post(CHAT, " ".repeat(length)), "sk-wrong");
        let response = client.send(request).await.unwrap();
        assert_error(&response, 401, "authentication_error", "invalid_api_key");
        assert_eq!(response.header("connection"), connection, "{length} bytes");
    }
    assert!(upstream.requests().is_empty());
}

/// Envoy's default limit is 1024 of each; requests above the limit get a 503.
#[tokio::test]
async fn cluster_limits_exceed_the_listener_limit() {
    let (_upstream, envoy) = start().await;
    let body = envoy.admin("/clusters").await.body;
    let clusters = String::from_utf8_lossy(&body);
    for limit in ["max_connections", "max_pending_requests", "max_requests"] {
        let name = format!("sidecar::default_priority::{limit}::");
        let value = clusters
            .lines()
            .find_map(|line| line.strip_prefix(&name)?.parse::<u32>().ok());
        assert!(
            value.is_some_and(|value| value > 10_000),
            "{limit}: {value:?}"
        );
    }
}

#[tokio::test]
async fn full_heap_rejects_requests_with_503() {
    let limit = |to| format!("max_heap_size_bytes: {to}");
    let (upstream, envoy) = start_with(Behavior::Echo, |options| {
        options.replace(&limit(2_147_483_648_u64), &limit(1))
    })
    .await;
    envoy
        .wait_for_stat(
            "overload.envoy.overload_actions.stop_accepting_requests.active",
            1,
        )
        .await;
    envoy
        .wait_for_stat("overload.envoy.overload_actions.shrink_heap.active", 1)
        .await;
    let response = envoy.connect(Version::H1).await.send(chat()).await.unwrap();
    assert_error(&response, 503, "server_error", "codex_unavailable");
    assert_eq!(response.header("retry-after"), "1");
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn http2_settings_announce_the_limits() {
    const PREFACE_AND_EMPTY_SETTINGS: &[u8] =
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let (_upstream, envoy) = start().await;
    let mut stream = TcpStream::connect(envoy.address()).await.unwrap();
    stream.write_all(PREFACE_AND_EMPTY_SETTINGS).await.unwrap();
    let (kind, settings) = read_frame(&mut stream).await;
    assert_eq!(kind, 4, "SETTINGS is the first frame");
    let (max_concurrent_streams, initial_window_size) = (3, 4);
    let setting = |id: u8| {
        settings
            .chunks(6)
            .find(|chunk| chunk[..2] == [0, id])
            .map(|chunk| &chunk[2..])
    };
    assert_eq!(
        setting(max_concurrent_streams),
        Some(&100_u32.to_be_bytes()[..])
    );
    assert_eq!(
        setting(initial_window_size),
        Some(&262_144_u32.to_be_bytes()[..])
    );
    let (kind, payload) = read_frame(&mut stream).await;
    assert_eq!(
        (kind, payload.len()),
        (4, 0),
        "SETTINGS of the client are acknowledged"
    );
    let (kind, increment) = read_frame(&mut stream).await;
    assert_eq!(
        (kind, increment),
        (8, (1_048_576_u32 - 65_535).to_be_bytes().to_vec()),
        "WINDOW_UPDATE"
    );
}

/// Returns the type and the payload of the next HTTP/2 frame.
async fn read_frame(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.expect("a frame header");
    let length = usize::from(head[1]) << 8 | usize::from(head[2]);
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await.expect("the payload");
    (head[3], payload)
}
