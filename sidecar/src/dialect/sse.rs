//! A turn as server-sent events (WHATWG HTML, section 9.2): frames as they happen, comments while it is silent.

use std::convert::Infallible;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{Stream, unfold};
use tokio::time::sleep;

use crate::turn::{Attended, Event};

/// Frames are gathered into one write while more events wait already; this is when it is enough.
const WRITE_BYTES: usize = 16 << 10;

/// Writes one dialect's frames.
pub trait EventFrames {
    /// What is sent before Codex has said anything.
    fn write_start(&mut self, out: &mut BytesMut);
    /// What an event becomes; `Finished` comes once and last.
    fn write(&mut self, event: &Event, out: &mut BytesMut);
}

/// The bytes of a stream. Dropping it before its end is the client leaving.
pub fn event_stream<F: EventFrames>(
    turn: Attended,
    mut frames: F,
    keepalive: Option<Duration>,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let mut out = BytesMut::new();
    frames.write_start(&mut out);
    let state = EventStream {
        turn,
        frames,
        keepalive,
        out,
    };
    unfold(state, async |mut state| {
        let bytes = state.next_bytes().await?;
        Some((Ok(bytes), state))
    })
}

struct EventStream<F> {
    turn: Attended,
    frames: F,
    keepalive: Option<Duration>,
    out: BytesMut,
}

impl<F: EventFrames> EventStream<F> {
    /// What to send next; `None` after the end.
    async fn next_bytes(&mut self) -> Option<Bytes> {
        while self.out.is_empty() {
            tokio::select! {
                biased;
                event = self.turn.next() => self.frames.write(&event?, &mut self.out),
                () = silence(self.keepalive) => self.out.extend_from_slice(b": keepalive\n\n"),
            }
        }
        while self.out.len() < WRITE_BYTES
            && let Some(event) = self.turn.try_next()
        {
            self.frames.write(&event, &mut self.out);
        }
        Some(self.out.split().freeze())
    }
}

async fn silence(keepalive: Option<Duration>) {
    match keepalive {
        Some(after) => sleep(after).await,
        None => std::future::pending().await,
    }
}
