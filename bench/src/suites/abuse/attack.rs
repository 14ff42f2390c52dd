//! The attacks: each a number of clients with one key that repeat an action until they are stopped.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde_json::json;
use tests::http::{Client, DEADLINE, Version, bearer, get, post};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::codex::Workload;

/// The attacker's API key.
pub(super) const ATTACKER: &str = "the-key-of-the-attacker-of-the-bench-run";

/// Length of a body that is never finished: the limit of Envoy and the sidecar.
const BODY_BYTES: usize = 16 << 20;

/// Length of a long chat, and the number of its messages: a little fewer than the sidecar accepts.
const LONG_CHAT_BYTES: usize = 8 << 20;
const LONG_CHAT_MESSAGES: usize = 16_000;

/// Width and height of the image, in pixels.
const IMAGE_SIDE: u32 = 16_000;

/// Wait of a client after a refusal, as short as an impatient client's.
const REFUSAL_PAUSE: Duration = Duration::from_millis(50);

/// An attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attack {
    /// Chats of 16 MiB without their last octet.
    UnfinishedBodies,
    /// Whole chats of 8 MiB in many messages, which a child reads to their ends.
    WholeBodies,
    /// Chats with an image that is small in bytes and large in pixels.
    LargeImages,
    /// Streams that last until the end of the attack.
    HeldPermits,
    /// `GET /v1/usage`.
    UsageScans,
    /// Streamed chats that their client resets at once.
    ResetTurns,
}

impl Attack {
    pub(super) const ALL: [Self; 6] = [
        Self::UnfinishedBodies,
        Self::WholeBodies,
        Self::LargeImages,
        Self::HeldPermits,
        Self::UsageScans,
        Self::ResetTurns,
    ];

    /// Name of the row.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::UnfinishedBodies => "135 unfinished bodies of 16 MiB",
            Self::WholeBodies => "24 clients with chats of 8 MiB",
            Self::LargeImages => "3 chats with a PNG of 16000 × 16000",
            Self::HeldPermits => "32 streams without an end",
            Self::UsageScans => "8 readers of `/v1/usage`",
            Self::ResetTurns => "16 clients that reset their turns",
        }
    }

    /// Whether the child is the real Codex, because its memory matters; else the instant one.
    pub(super) fn needs_codex(self) -> bool {
        matches!(self, Self::UnfinishedBodies | Self::LargeImages)
    }

    fn clients(self) -> usize {
        match self {
            Self::UnfinishedBodies => 135,
            Self::WholeBodies => 24,
            Self::LargeImages => 3,
            Self::HeldPermits => 32,
            Self::UsageScans => 8,
            Self::ResetTurns => 16,
        }
    }

    /// Starts the clients; dropping the set ends their connections.
    pub(super) fn start(self, envoy: SocketAddr) -> JoinSet<()> {
        let body = match self {
            Self::WholeBodies => long_chat(),
            Self::LargeImages => image_chat(),
            Self::UnfinishedBodies | Self::HeldPermits | Self::UsageScans | Self::ResetTurns => {
                Bytes::new()
            }
        };
        let mut clients = JoinSet::new();
        for _ in 0..self.clients() {
            let body = body.clone();
            clients.spawn(async move {
                loop {
                    // An attacker does not mind errors.
                    let _ = self.act(envoy, body.clone()).await;
                    sleep(REFUSAL_PAUSE).await;
                }
            });
        }
        clients
    }

    async fn act(self, envoy: SocketAddr, body: Bytes) -> anyhow::Result<()> {
        match self {
            Self::UnfinishedBodies => send_unfinished(envoy).await,
            Self::WholeBodies | Self::LargeImages => {
                let request = bearer(post("/v1/chat/completions", body), ATTACKER);
                // Before the deadline of the client, which would panic.
                timeout(DEADLINE / 2, connect(envoy).await.send(request)).await??;
                Ok(())
            }
            Self::HeldPermits => {
                let endless = Workload {
                    deltas: u32::MAX,
                    pause_us: 1_000_000,
                };
                let mut stream = connect(envoy).await.stream(chat(endless)).await?;
                while stream.next().await?.is_some() {}
                Ok(())
            }
            Self::UsageScans => {
                let request = bearer(get("/v1/usage"), ATTACKER);
                connect(envoy).await.send(request).await?;
                Ok(())
            }
            Self::ResetTurns => {
                let turn = Workload {
                    deltas: 100,
                    pause_us: 10_000,
                };
                drop(connect(envoy).await.stream(chat(turn)).await?);
                Ok(())
            }
        }
    }
}

async fn connect(envoy: SocketAddr) -> Client {
    Client::connect(envoy, Version::H1).await
}

fn chat(turn: Workload) -> http::Request<tests::http::Body> {
    let message = json!({"role": "user", "content": turn.prompt()});
    let body = json!({"model": "codex-5", "stream": true, "messages": [message]});
    bearer(post("/v1/chat/completions", body.to_string()), ATTACKER)
}

/// Sends all of a chat but its last octet, and waits until Envoy closes the connection.
async fn send_unfinished(envoy: SocketAddr) -> anyhow::Result<()> {
    let mut connection = TcpStream::connect(envoy).await?;
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {ATTACKER}\r\n\
         content-length: {BODY_BYTES}\r\n\r\n{{\"messages\":\""
    );
    connection.write_all(head.as_bytes()).await?;
    let piece = vec![b'a'; 64 << 10];
    let mut left = BODY_BYTES - 1 - "{\"messages\":\"".len();
    while left > 0 {
        let length = left.min(piece.len());
        connection.write_all(&piece[..length]).await?;
        left -= length;
    }
    let mut response = Vec::new();
    connection.read_to_end(&mut response).await?;
    Ok(())
}

/// A chat of 8 MiB with its model at the end. The last message asks the instant child for an answer.
fn long_chat() -> Bytes {
    let text_bytes =
        LONG_CHAT_BYTES / LONG_CHAT_MESSAGES - r#"{"role":"user","content":""},"#.len();
    let message = json!({"role": "user", "content": "a".repeat(text_bytes)});
    let mut messages = vec![message; LONG_CHAT_MESSAGES];
    messages.push(json!({"role": "user", "content": Workload::default().prompt()}));
    let body = json!({"messages": messages, "model": "codex-5"});
    body.to_string().into()
}

/// A chat with an image of one colour.
fn image_chat() -> Bytes {
    let url = format!("data:image/png;base64,{}", STANDARD.encode(png(IMAGE_SIDE)));
    let content = json!([{"type": "image_url", "image_url": {"url": url}}]);
    let body = json!({"model": "codex-5", "messages": [{"role": "user", "content": content}]});
    body.to_string().into()
}

/// A black PNG in RGB, written row by row: its pixels would take 768 MB.
fn png(side: u32) -> Vec<u8> {
    let mut pixels = ZlibEncoder::new(Vec::new(), Compression::fast());
    let row = vec![0; 1 + 3 * side as usize];
    for _ in 0..side {
        pixels.write_all(&row).expect("a vector takes every write");
    }
    let compressed = pixels.finish().expect("a vector takes every write");
    let mut header = [side.to_be_bytes(), side.to_be_bytes()].concat();
    // Depth 8, RGB, and the only methods of compression, filter and interlacing.
    header.extend([8, 2, 0, 0, 0]);
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in [
        (b"IHDR", &header),
        (b"IDAT", &compressed),
        (b"IEND", &Vec::new()),
    ] {
        let length = u32::try_from(data.len()).expect("a chunk is shorter than 4 GiB");
        let typed = [&kind[..], data].concat();
        let mut sum = flate2::Crc::new();
        sum.update(&typed);
        png.extend(length.to_be_bytes());
        png.extend(typed);
        png.extend(sum.sum().to_be_bytes());
    }
    png
}
