//! The body of a streamed answer: events as server-sent events, written as the script asks.
//! The source is WHATWG HTML, section 9.2, in the form that OpenAI sends (`event:` and `data:`).

use std::io::{self, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut as _, Bytes, BytesMut};
use hyper::body::{Body, Frame};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::scripted_model::script::Writes;

/// Writes events; the other end of an `AnswerBody`.
pub(crate) struct EventWriter {
    writes: mpsc::Sender<Bytes>,
    buffer: BytesMut,
    sequence_number: u64,
    /// Whether hyper was given something that it may not have written yet.
    pending: bool,
}

/// A body that is played while it is polled, so that dropping it ends the play.
pub(crate) struct AnswerBody {
    play: Option<Play>,
    writes: mpsc::Receiver<Bytes>,
}

type Play = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

impl AnswerBody {
    /// A body that `play` fills; an error aborts the connection.
    pub(crate) fn new<F>(play: impl FnOnce(EventWriter) -> F) -> Self
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        // One write at a time: the play goes on when hyper has taken the one before.
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

impl Body for AnswerBody {
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
    /// Writes an event, or keeps it for the next write when they come in a burst.
    pub(crate) async fn write(&mut self, mut event: Value, writes: Writes) {
        event["sequence_number"] = self.sequence_number.into();
        self.sequence_number += 1;
        let kind = event["type"].as_str().unwrap_or_default();
        write!(
            (&mut self.buffer).writer(),
            "event: {kind}\ndata: {event}\n\n"
        )
        .expect("memory takes all bytes");
        match writes {
            Writes::PerEvent => self.flush().await,
            Writes::Burst => {}
            Writes::Bytes(most) => {
                while self.buffer.len() > most.get() {
                    let piece = self.buffer.split_to(most.get()).freeze();
                    self.send(piece).await;
                }
                self.flush().await;
            }
        }
    }

    /// Writes what was kept.
    pub(crate) async fn flush(&mut self) {
        let kept = self.buffer.split().freeze();
        if !kept.is_empty() {
            self.send(kept).await;
        }
    }

    /// Writes the first half of an event.
    pub(crate) async fn write_half(&mut self, event: &Value) {
        let whole = event.to_string();
        let (half, _) = whole.as_bytes().split_at(whole.len() / 2);
        self.buffer.put_slice(b"data: ");
        self.buffer.put_slice(half);
        self.flush().await;
        self.written().await;
    }

    async fn send(&mut self, bytes: Bytes) {
        self.written().await;
        // The receiver is in the body that polls this future, so it is there.
        let _ = self.writes.send(bytes).await;
        self.pending = true;
    }

    /// Waits until hyper has written what it was given: it takes all there is, and writes when the body is idle.
    async fn written(&mut self) {
        if self.pending {
            let _taken = self.writes.reserve().await;
            tokio::task::yield_now().await;
            self.pending = false;
        }
    }
}
