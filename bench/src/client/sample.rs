//! One request as its client experiences it.

use std::time::Duration;

use http::Request;
use tests::http::{Body, Client, StreamedResponse};
use tokio::time::Instant;

use super::chunk_reader::ChunkReader;

/// Length of the kept prefix of an error body, in characters; enough for the message of any server under test.
const ERROR_BODY_CHARS: usize = 300;

/// Timings and outcome of one request.
#[derive(Debug, Default)]
pub(crate) struct RequestSample {
    /// HTTP status code; 0 for a turn that was not requested over HTTP.
    pub(crate) status: u16,
    /// Time from the request to the first text.
    pub(crate) first_token: Option<Duration>,
    /// Time from the request to the end of the response.
    pub(crate) total: Duration,
    /// Number of text deltas.
    pub(crate) deltas: usize,
    /// Time from the child's write to the client's read, for each delta that carries a timestamp.
    pub(crate) delays: Vec<Duration>,
    /// Longest time between two reads from the connection.
    pub(crate) longest_gap: Duration,
    /// Whether the stream ended with its final marker.
    pub(crate) is_complete: bool,
    /// Whether the response has a `retry-after` header.
    pub(crate) has_retry_after: bool,
    /// Beginning of the body of an error response, or of an error event in a stream.
    pub(crate) error_body: Option<String>,
}

impl RequestSample {
    /// Sends `request` and reads the response to its end.
    ///
    /// # Errors
    /// When the connection breaks before the end of the response.
    pub(crate) async fn measure(
        client: &mut Client,
        request: Request<Body>,
    ) -> anyhow::Result<Self> {
        let sent_at = Instant::now();
        let stream = client.stream(request).await?;
        Self::read(stream, sent_at).await
    }

    /// Reads the response to a request that was sent at `sent_at`.
    ///
    /// # Errors
    /// When the connection breaks before the end of the response.
    pub(crate) async fn read(
        mut stream: StreamedResponse,
        sent_at: Instant,
    ) -> anyhow::Result<Self> {
        let mut sample = Self {
            status: stream.status.as_u16(),
            has_retry_after: stream.headers.contains_key("retry-after"),
            ..Self::default()
        };
        let mut reader = ChunkReader::default();
        let mut last_read = sent_at;
        while let Some(piece) = stream.next().await? {
            // Taken before the parsing below, which is the client's own time.
            let gap = last_read.elapsed();
            last_read = Instant::now();
            sample.longest_gap = sample.longest_gap.max(gap);
            reader.read(&piece.data);
            sample.keep_error_body(&piece.data);
            if reader.deltas > 0 {
                sample.first_token.get_or_insert(sent_at.elapsed());
            }
        }
        Ok(Self {
            total: sent_at.elapsed(),
            deltas: reader.deltas,
            delays: reader.delays,
            is_complete: reader.is_complete,
            ..sample
        })
    }

    fn keep_error_body(&mut self, piece: &[u8]) {
        // After the first byte of a stream, the status is already 200 and an error is an event.
        let is_error = self.status >= 400 || piece.starts_with(b"data: {\"error\"");
        if is_error && self.error_body.is_none() {
            let text = String::from_utf8_lossy(piece);
            self.error_body = Some(text.trim().chars().take(ERROR_BODY_CHARS).collect());
        }
    }
}
