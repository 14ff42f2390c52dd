//! The body of a streamed response: server-sent events, written as the script asks.
//! The format is that of WHATWG HTML, section 9.2, as OpenAI sends it (`event:` and `data:`).

use std::io::{self, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut as _, Bytes, BytesMut};
use hyper::body::{Body, Frame};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::scripted_model::script::WriteMode;

/// Writes the events of an `EventBody`.
pub(crate) struct EventWriter {
    writes: mpsc::Sender<Bytes>,
    buffer: BytesMut,
    sequence_number: u64,
    /// Whether a chunk was handed to hyper since the last write to the socket was known to be complete.
    pending: bool,
}

/// A response body that is produced while hyper polls it, so that dropping the body ends the script.
pub(crate) struct EventBody {
    play: Option<Playback>,
    writes: mpsc::Receiver<Bytes>,
}

type Playback = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

impl EventBody {
    /// A body that `play` fills; an error aborts the connection.
    pub(crate) fn new<F>(play: impl FnOnce(EventWriter) -> F) -> Self
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        // One chunk at a time: the script continues when hyper has taken the previous chunk.
        let (sender, receiver) = mpsc::channel(1);
        let writer = EventWriter {
            writes: sender,
            buffer: BytesMut::new(),
            sequence_number: 0,
            pending: false,
        };
        Self {
            play: Some(Box::pin(play(writer))),
            writes: receiver,
        }
    }
}

impl Body for EventBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Ok(bytes) = self.writes.try_recv() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        let Some(play) = &mut self.play else {
            return Poll::Ready(None);
        };
        let played = play.as_mut().poll(context);
        if played.is_ready() {
            self.play = None;
        }
        match (self.writes.try_recv(), played) {
            (Ok(bytes), _) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            (Err(_), Poll::Pending) => Poll::Pending,
            (Err(_), Poll::Ready(Ok(()))) => Poll::Ready(None),
            (Err(_), Poll::Ready(Err(error))) => Poll::Ready(Some(Err(error))),
        }
    }
}

impl EventWriter {
    /// Writes an event, or buffers it until the next flush of a burst.
    pub(crate) async fn write(&mut self, mut event: Value, writes: WriteMode) {
        event["sequence_number"] = self.sequence_number.into();
        self.sequence_number += 1;
        let kind = event["type"].as_str().unwrap_or_default();
        write!(
            (&mut self.buffer).writer(),
            "event: {kind}\ndata: {event}\n\n"
        )
        .expect("writes to memory do not fail");
        match writes {
            WriteMode::PerEvent => self.flush().await,
            WriteMode::Burst => {}
            WriteMode::Bytes(max) => {
                while self.buffer.len() > max.get() {
                    let chunk = self.buffer.split_to(max.get()).freeze();
                    self.send(chunk).await;
                }
                self.flush().await;
            }
        }
    }

    /// Writes the buffered events.
    pub(crate) async fn flush(&mut self) {
        let buffered = self.buffer.split().freeze();
        if !buffered.is_empty() {
            self.send(buffered).await;
        }
    }

    /// Writes the first half of an event.
    pub(crate) async fn write_half(&mut self, event: &Value) {
        let whole = event.to_string();
        let (half, _) = whole.as_bytes().split_at(whole.len() / 2);
        self.buffer.put_slice(b"data: ");
        self.buffer.put_slice(half);
        self.flush().await;
        self.wait_until_written().await;
    }

    async fn send(&mut self, bytes: Bytes) {
        self.wait_until_written().await;
        // Cannot fail: the receiver lives in the body that polls this future.
        let _ = self.writes.send(bytes).await;
        self.pending = true;
    }

    /// Waits until hyper has written the previous chunk to the socket.
    async fn wait_until_written(&mut self) {
        if self.pending {
            // Hyper takes every chunk that is ready and writes when the body is pending; the yield makes it pending once.
            let _ = self.writes.reserve().await; // an error means that the body was dropped
            tokio::task::yield_now().await;
            self.pending = false;
        }
    }
}
