//! A turn as server-sent events (WHATWG HTML, section 9.2): frames for its events, comments as keepalive in between.

use std::convert::Infallible;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{Stream, unfold};
use tokio::time::Instant;

use crate::turn::{ClientTurn, Event, LazyTimer};

/// Bytes of frames after which a write begins, even if further events are queued already.
const WRITE_BYTES: usize = 16 << 10;

/// A comment line. Without a blank line of its own, which would make some parsers report an event without data: it
/// belongs to the next event.
const KEEPALIVE: &[u8] = b": keepalive\n";

/// Writes the frames of one response format.
pub trait EventFrames {
    /// The frame that is sent when the stream is silent.
    const KEEPALIVE: &'static [u8] = KEEPALIVE;

    /// Writes the frames that come before the first event.
    fn write_start(&mut self, out: &mut BytesMut);
    /// Writes the frames for an event; `Finished` comes once and last.
    fn write(&mut self, event: &Event, out: &mut BytesMut);
    /// Waits for the work that must be done before the frames are sent. The future may be dropped before it is ready.
    fn flushed(&mut self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

/// Returns the bytes of a stream. Dropping the stream before its end means that the client has disconnected.
pub fn event_stream<F: EventFrames>(
    turn: ClientTurn,
    mut frames: F,
    keepalive: Option<Duration>,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let mut out = BytesMut::new();
    frames.write_start(&mut out);
    let stream = EventStream {
        turn,
        frames,
        keepalive,
        timer: LazyTimer::default(),
        out,
    };
    // Boxed: `unfold` moves its state into a new future for each item.
    unfold(Box::new(stream), async |mut stream| {
        let bytes = stream.next_bytes().await?;
        Some((Ok(bytes), stream))
    })
}

struct EventStream<F> {
    turn: ClientTurn,
    frames: F,
    keepalive: Option<Duration>,
    timer: LazyTimer,
    out: BytesMut,
}

impl<F: EventFrames> EventStream<F> {
    /// Returns the bytes to send next, or `None` after the end.
    async fn next_bytes(&mut self) -> Option<Bytes> {
        // One deadline for the loop: events without a frame must not postpone the keepalive.
        let keepalive = self.keepalive.map(|after| Instant::now() + after);
        while self.out.is_empty() {
            tokio::select! {
                // Events first: a comment is only due when no event is ready.
                biased;
                event = self.turn.next() => self.frames.write(&event?, &mut self.out),
                () = self.timer.until(keepalive) => self.out.extend_from_slice(F::KEEPALIVE),
            }
        }
        while self.out.len() < WRITE_BYTES
            && let Some(event) = self.turn.try_next()
        {
            self.frames.write(&event, &mut self.out);
        }
        self.frames.flushed().await;
        Some(self.out.split().freeze())
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::StreamExt;
    use tokio::time::sleep;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::turn::{Timers, TruncationRules, channel};

    /// Writes no frames.
    struct NoFrames;

    impl EventFrames for NoFrames {
        fn write_start(&mut self, _out: &mut BytesMut) {}
        fn write(&mut self, _event: &Event, _out: &mut BytesMut) {}
    }

    #[tokio::test(start_paused = true)]
    async fn events_without_frames_do_not_postpone_the_keepalive() {
        let (writer, turn) = channel(Timers::default(), CancellationToken::new());
        let turn = ClientTurn::new(turn, None, &TruncationRules::default(), Vec::new());
        let mut stream = pin!(event_stream(turn, NoFrames, Some(Duration::from_secs(15))));
        let started = Instant::now();
        let child = async {
            for _ in 0..10 {
                sleep(Duration::from_secs(10)).await;
                writer.write(Event::Heartbeat).unwrap();
            }
        };
        tokio::select! {
            bytes = stream.next() => assert_eq!(bytes.unwrap().unwrap(), ": keepalive\n"),
            () = child => panic!("no keepalive within 100 seconds"),
        }
        assert_eq!(started.elapsed().as_secs(), 15);
    }
}
