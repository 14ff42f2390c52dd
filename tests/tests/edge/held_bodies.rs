//! Bodies that Envoy holds while the filter looks for the model: bounded for each client and in all, and given back.
//! Follows `max_held_body_bytes` of the filter, and Envoy's resident memory as the kernel shows it.

use serde_json::json;
use tests::envoy::{Envoy, EnvoyOptions};
use tests::http::{BufferedResponse, DEADLINE, Version, bearer, post};
use tests::processes::resident_kib;
use tests::upstream::Behavior;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::stack::{CHAT, KEY, assert_error, start_with};

const OTHER_KEY: &str = "another-key-of-the-edge-tests";
const LENGTH: usize = 16 << 20;
/// `max_held_body_bytes` of a worker.
const HELD_KIB: usize = 128 << 10;
/// Memory that Envoy may take beside the held bodies, for connections and the slices of its buffers.
const OVERHEAD_KIB: usize = 32 << 10;

fn two_keys(options: EnvoyOptions) -> EnvoyOptions {
    let keys = json!([{"id": "default", "key": KEY}, {"id": "bob", "key": OTHER_KEY}]);
    options.filter("keys", keys)
}

/// A client that sends all of a 16 MiB chat but its last octet, and then waits.
struct Unfinished {
    connection: TcpStream,
    /// Whether Envoy has read all of it; else Envoy refused the body and closed the connection.
    is_whole: bool,
}

async fn send_unfinished(address: std::net::SocketAddr) -> Unfinished {
    let mut connection = TcpStream::connect(address).await.expect("Envoy listens");
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: edge\r\nauthorization: Bearer {KEY}\r\ncontent-length: {LENGTH}\r\n\r\n{{\"messages\":\""
    );
    let mut sent = connection.write_all(head.as_bytes()).await;
    let piece = vec![b'a'; 64 << 10];
    let mut left = LENGTH - 1 - "{\"messages\":\"".len();
    while sent.is_ok() && left > 0 {
        let length = left.min(piece.len());
        sent = connection.write_all(&piece[..length]).await;
        left -= length;
    }
    Unfinished {
        connection,
        is_whole: sent.is_ok(),
    }
}

async fn small_chat(envoy: &Envoy, key: &str) -> BufferedResponse {
    let request = bearer(post(CHAT, r#"{"messages":[],"model":"codex-5"}"#), key);
    let response = envoy.connect(Version::H1).await.send(request).await;
    response.expect("a response arrives")
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_bodies_of_one_key_are_bounded_while_another_key_is_served() {
    let (_upstream, envoy) = start_with(Behavior::Echo, two_keys).await;
    assert_eq!(small_chat(&envoy, OTHER_KEY).await.status, 200);
    let idle = resident_kib(envoy.pid());
    let mut uploads = JoinSet::new();
    for _ in 0..135 {
        uploads.spawn(send_unfinished(envoy.address()));
    }
    let mut held = Vec::new();
    while let Some(upload) = uploads.join_next().await {
        held.push(upload.expect("an upload does not panic"));
        assert_eq!(small_chat(&envoy, OTHER_KEY).await.status, 200);
    }
    let whole = held.iter().filter(|upload| upload.is_whole).count();
    assert_eq!(whole, 4, "half of 128 MiB");
    let peak = resident_kib(envoy.pid());
    assert!(
        peak - idle < HELD_KIB / 2 + OVERHEAD_KIB,
        "{idle} KiB idle, {peak} KiB"
    );
    let refused = bearer(post(CHAT, vec![b' '; 1 << 20]), KEY);
    let refused = envoy
        .connect(Version::H2)
        .await
        .send(refused)
        .await
        .unwrap();
    assert_error(&refused, 429, "rate_limit_error", "client_memory_exceeded");
    // A client that disconnects gives back what it held.
    for upload in held {
        drop(upload.connection);
    }
    envoy
        .wait_for_stat("http.public.downstream_cx_destroy_remote_active_rq", 4)
        .await;
    let body = bearer(
        post(
            CHAT,
            format!("{{\"model\":\"codex-5\"{}}}", " ".repeat(8 << 20)),
        ),
        KEY,
    );
    let served = envoy.connect(Version::H1).await.send(body).await.unwrap();
    assert_eq!(served.status, 200);
    // Without the soft limit of its allocator, Envoy keeps the memory for minutes.
    let given_back = async {
        while resident_kib(envoy.pid()) > idle + idle / 10 {
            assert_eq!(small_chat(&envoy, OTHER_KEY).await.status, 200);
        }
    };
    let given_back = timeout(DEADLINE, given_back).await;
    assert!(
        given_back.is_ok(),
        "{idle} KiB idle, {} KiB kept",
        resident_kib(envoy.pid())
    );
}
