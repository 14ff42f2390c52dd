//! The memory of request bodies: reserved before a body is read, shared between clients, and given back.
//! `PROXY_BODY_MEMORY_MIB` is at least 6 times `PROXY_MAX_BODY_BYTES`, and a body is charged twice.

use std::convert::Infallible;
use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::future::select;
use futures_util::stream;
use http::Request;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};
use tests::http::{Body, BufferedResponse, Client, post, with};
use tests::scripted_model::ScriptedModel;
use tests::sidecar::Sidecar;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use crate::stack::{SOON, assert_error, start_with};

const CHAT: &str = "/v1/chat/completions";
const LIMIT: usize = 1 << 20;

/// A sidecar with a budget of six bodies; one client alone gets three charges of a MiB.
async fn start() -> (ScriptedModel, Sidecar) {
    let limit = LIMIT.to_string();
    start_with(|options| {
        options
            .env("PROXY_MAX_BODY_BYTES", &limit)
            .env("PROXY_BODY_MEMORY_MIB", "0")
    })
    .await
}

/// A client that declares a body of `length` bytes and sends one of them.
async fn hold(sidecar: &Sidecar, client: &str, length: usize) -> UnixStream {
    let mut connection = UnixStream::connect(sidecar.socket())
        .await
        .expect("the sidecar listens");
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: edge\r\nx-codex-edge-client: {client}\r\ncontent-length: {length}\r\n\r\n{{"
    );
    let sent = connection.write_all(head.as_bytes()).await;
    sent.expect("the sidecar reads");
    connection
}

fn of(client: &str, request: Request<Body>) -> Request<Body> {
    with(request, "x-codex-edge-client", client)
}

fn chat(text: &str) -> Bytes {
    let message =
        json!({"role": "user", "content": format!("{text}[[model:{{\"text\":\"Hi.\"}}]]")});
    let body: Value = json!({"model": "codex-5", "messages": [message]});
    body.to_string().into()
}

async fn send(sidecar: &Sidecar, request: Request<Body>) -> BufferedResponse {
    let mut client = sidecar.connect().await;
    client.send(request).await.expect("a response arrives")
}

/// Sends `request` until the response has `status`: reservations end shortly after their cause.
async fn send_until(
    sidecar: &Sidecar,
    status: u16,
    request: impl Fn() -> Request<Body>,
) -> BufferedResponse {
    let sent = async {
        loop {
            let response = send(sidecar, request()).await;
            if response.status == status {
                return response;
            }
        }
    };
    tokio::time::timeout(SOON, sent)
        .await
        .unwrap_or_else(|_| panic!("never {status}"))
}

/// A chat in frames of 64 KiB, without a declared length.
fn in_frames(body: &Bytes) -> Request<Body> {
    let frames: Vec<_> = (0..body.len())
        .step_by(64 << 10)
        .map(|start| body.slice(start..body.len().min(start + (64 << 10))))
        .map(|chunk| Ok::<_, Infallible>(Frame::data(chunk)))
        .collect();
    post(CHAT, "").map(|_| StreamBody::new(stream::iter(frames)).boxed())
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let written = encoder.write_all(body).and_then(|()| encoder.finish());
    written.expect("a vector takes every write")
}

#[tokio::test]
async fn client_beyond_its_share_gets_429_while_others_are_served() {
    let (_model, sidecar) = start().await;
    let _first = hold(&sidecar, "ann", LIMIT).await;
    // Reserved by the time that a second body of the same size is refused.
    let large = chat(&" ".repeat(LIMIT - 1000));
    let refused = send_until(&sidecar, 429, || of("ann", post(CHAT, large.clone()))).await;
    assert_error(&refused, 429, "client_memory_exceeded");
    assert_eq!(refused.header("retry-after"), "1");
    let chunked = send(&sidecar, of("ann", in_frames(&large))).await;
    assert_error(&chunked, 429, "client_memory_exceeded");
    let encoded = with(post(CHAT, gzip(&large)), "content-encoding", "gzip");
    let encoded = send(&sidecar, of("ann", encoded)).await;
    assert_error(&encoded, 429, "client_memory_exceeded");
    for small in [post(CHAT, chat("")), in_frames(&chat(""))] {
        assert_eq!(send(&sidecar, of("ann", small)).await.status, 200);
    }
    assert_eq!(
        send(&sidecar, of("bob", post(CHAT, chat("")))).await.status,
        200
    );
}

#[tokio::test]
async fn full_budget_is_503_that_envoy_may_retry_and_ends_with_the_connections() {
    let (_model, sidecar) = start().await;
    let large = || chat(&" ".repeat(LIMIT - 1000));
    let mut held = Vec::new();
    for client in ["ann", "bob"] {
        held.push(hold(&sidecar, client, LIMIT).await);
        let refused = send_until(&sidecar, 429, || of(client, post(CHAT, large()))).await;
        assert_error(&refused, 429, "client_memory_exceeded");
    }
    let plain = post(CHAT, large());
    let encoded = with(post(CHAT, gzip(&large())), "content-encoding", "gzip");
    for request in [plain, in_frames(&large()), encoded] {
        let refused = send(&sidecar, of("cy", request)).await;
        assert_error(&refused, 503, "memory_exceeded");
        assert_eq!(refused.header("retry-after"), "1");
        assert_eq!(refused.header("x-should-retry"), "true");
    }
    assert_eq!(
        send(&sidecar, of("cy", post(CHAT, chat("")))).await.status,
        200
    );
    drop(held);
    for client in ["ann", "cy"] {
        let served = send_until(&sidecar, 200, || of(client, post(CHAT, large()))).await;
        assert_eq!(served.status, 200);
    }
}

#[tokio::test]
async fn refused_invalid_and_served_bodies_give_their_memory_back() {
    let (_model, sidecar) = start().await;
    let large = chat(&" ".repeat(LIMIT - 1000));
    let requests: [fn(&Bytes) -> Request<Body>; 6] = [
        |_| post(CHAT, vec![b'{'; LIMIT]),
        |_| post(CHAT, vec![b' '; LIMIT + 1]),
        |_| with(post(CHAT, vec![b'{'; LIMIT]), "content-encoding", "gzip"),
        |_| {
            with(
                post(CHAT, gzip(&vec![b' '; LIMIT + 1])),
                "content-encoding",
                "gzip",
            )
        },
        |body| post(CHAT, body.clone()),
        |body| with(post(CHAT, gzip(body)), "content-encoding", "gzip"),
    ];
    for request in requests {
        // A budget of three bodies of one client would be used up by the fourth that is not given back.
        for _ in 0..4 {
            let response = send(&sidecar, of("ann", request(&large))).await;
            assert_ne!(response.status, 429, "{response:?}");
            assert_ne!(response.status, 503, "{response:?}");
        }
    }
    let input = json!({"model": "codex-5", "input": format!("{}[[model:{{\"text\":\"Hi.\"}}]]", " ".repeat(LIMIT - 1000))});
    for _ in 0..4 {
        let response = send(
            &sidecar,
            of("ann", post("/v1/responses", input.to_string())),
        )
        .await;
        assert_eq!(response.status, 200, "{response:?}");
    }
}

#[tokio::test]
async fn queued_turn_holds_its_memory_until_a_child_has_the_conversation() {
    let limit = LIMIT.to_string();
    let (_model, sidecar) = start_with(|options| {
        options
            .env("PROXY_MAX_BODY_BYTES", &limit)
            .env("PROXY_BODY_MEMORY_MIB", "0")
            .env("PROXY_SSE_MAX_CONCURRENCY", "1")
            .env("PROXY_QUEUE_TIMEOUT_MS", "60000")
    })
    .await;
    let large = chat(&" ".repeat(LIMIT - 1000));
    let prompt = format!(
        "{}[[model:{}]]",
        " ".repeat(LIMIT - 1000),
        json!([{"text": "a"}, {"pause_ms": 600_000}])
    );
    let long = json!({"model": "codex-5", "stream": true, "messages": [{"role": "user", "content": prompt}]});
    let mut running: Client = sidecar.connect().await;
    let mut stream = running
        .stream(of("ann", post(CHAT, long.to_string())))
        .await
        .unwrap();
    // The model has answered, so that the child has the conversation.
    let mut text = String::new();
    while !text.contains(r#""content":"a""#) {
        let chunk = stream.next().await.unwrap().expect("the stream goes on");
        text.push_str(&String::from_utf8_lossy(&chunk.data));
    }
    // It has given its memory back: one of two further bodies has room, and waits for the permit with its memory.
    let send_large = async || {
        let mut client = sidecar.connect().await;
        let sent = client.send(of("ann", post(CHAT, large.clone()))).await;
        sent.expect("a response arrives")
    };
    let further = select(Box::pin(send_large()), Box::pin(send_large())).await;
    let (refused, queued) = further.factor_first();
    assert_error(&refused, 429, "client_memory_exceeded");
    drop(stream);
    drop(running);
    let served = queued.await;
    assert_eq!(served.status, 200, "{served:?}");
}
