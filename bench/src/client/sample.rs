//! One request as its client lives through it, and many of them under a load.
//! Streams are server-sent events (WHATWG HTML, section 9.2) in the shape of chat completion chunks.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::Request;
use serde_json::json;
use tests::http::{Body, Client, Stream, Version, bearer, post, with};
use tokio::time::Instant;

use super::chunk_reader::Reader;

/// The key that every client of a run has; peers want one that is long and does not look like OpenAI's.
pub(crate) const KEY: &str = "the-key-of-every-client-of-the-bench-run";

/// Where clients ask.
#[derive(Debug, Clone)]
pub(crate) enum Door {
    /// Envoy, or a peer.
    Tcp(SocketAddr),
    /// The sidecar.
    Unix(PathBuf),
}

impl Door {
    /// A new connection.
    ///
    /// # Errors
    /// When nobody listens.
    pub(crate) async fn open(&self) -> anyhow::Result<Client> {
        match self {
            Self::Tcp(address) => Ok(Client::connect(*address, Version::H1).await),
            Self::Unix(path) => Ok(Client::connect_unix(path).await?),
        }
    }
}

/// What a client saw.
#[derive(Debug, Default)]
pub(crate) struct Visit {
    /// HTTP's status; 0 of a turn without HTTP.
    pub(crate) status: u16,
    /// From the request to the first text.
    pub(crate) first_token: Option<Duration>,
    /// From the request to the end.
    pub(crate) whole: Duration,
    /// Pieces of text.
    pub(crate) deltas: usize,
    /// Of deltas that carry a stamp, how long each was under way.
    pub(crate) delays: Vec<Duration>,
    /// The longest time between two pieces of what was received.
    pub(crate) longest_silence: Duration,
    /// Whether a stream said that it is at its end.
    pub(crate) is_whole: bool,
    /// Whether a refusal says when to come again.
    pub(crate) has_retry_after: bool,
    /// How an answer begins that is an error, or has one.
    pub(crate) complaint: Option<String>,
}

/// As much of a complaint as a reader needs.
const COMPLAINT: usize = 300;

impl Visit {
    /// Asks, and reads to the end.
    ///
    /// # Errors
    /// When the answer breaks off.
    pub(crate) async fn make(client: &mut Client, request: Request<Body>) -> anyhow::Result<Self> {
        let asked = Instant::now();
        let stream = client.stream(request).await?;
        Self::read(stream, asked).await
    }

    /// Reads an answer that was asked for before.
    ///
    /// # Errors
    /// When it breaks off.
    pub(crate) async fn read(mut stream: Stream, asked: Instant) -> anyhow::Result<Self> {
        let mut visit = Self {
            status: stream.status.as_u16(),
            has_retry_after: stream.headers.contains_key("retry-after"),
            ..Self::default()
        };
        let mut reader = Reader::default();
        let mut heard = asked;
        while let Some(piece) = stream.next().await? {
            let silence = heard.elapsed();
            heard = Instant::now();
            visit.longest_silence = visit.longest_silence.max(silence);
            reader.read(&piece.data, &mut visit);
            visit.complain(&piece.data);
            if visit.deltas > 0 {
                visit.first_token.get_or_insert(asked.elapsed());
            }
        }
        visit.whole = asked.elapsed();
        Ok(visit)
    }

    fn complain(&mut self, piece: &[u8]) {
        let is_error = self.status >= 400 || piece.starts_with(b"data: {\"error\"");
        if is_error && self.complaint.is_none() {
            let text = String::from_utf8_lossy(piece);
            self.complaint = Some(text.trim().chars().take(COMPLAINT).collect());
        }
    }
}

/// A chat that streams, by the client with [`KEY`].
pub(crate) fn chat(model: &str, prompt: &str) -> Request<Body> {
    let message = json!({"role": "user", "content": prompt});
    let body = json!({"model": model, "stream": true, "messages": [message]});
    let request = bearer(post("/v1/chat/completions", body.to_string()), KEY);
    // There are servers that refuse names which are not their own.
    with(request, "host", "127.0.0.1")
}
