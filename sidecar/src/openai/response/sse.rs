//! A turn as server-sent events (WHATWG HTML, section 9.2): frames as they happen, comments while it is silent.

use std::convert::Infallible;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{Stream, unfold};
use tokio::time::Instant;

use crate::turn::{ClientTurn, Event, LazyTimer};

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
    // In a box, since it moves at each poll.
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
    /// What to send next; `None` after the end.
    async fn next_bytes(&mut self) -> Option<Bytes> {
        let keepalive = self.keepalive.map(|after| Instant::now() + after);
        while self.out.is_empty() {
            tokio::select! {
                biased;
                event = self.turn.next() => self.frames.write(&event?, &mut self.out),
                () = self.timer.until(keepalive) => self.out.extend_from_slice(b": keepalive\n\n"),
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

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::StreamExt;
    use tokio::time::sleep;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::turn::{Timers, TruncationRules, channel};

    /// Shows nothing.
    struct Mute;

    impl EventFrames for Mute {
        fn write_start(&mut self, _out: &mut BytesMut) {}
        fn write(&mut self, _event: &Event, _out: &mut BytesMut) {}
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_shown_does_not_put_off_the_comment() {
        let (writer, turn) = channel(Timers::default(), CancellationToken::new());
        let turn = ClientTurn::new(turn, None, &TruncationRules::default(), Vec::new());
        let mut stream = pin!(event_stream(turn, Mute, Some(Duration::from_secs(15))));
        let started = Instant::now();
        let child = async {
            for _ in 0..10 {
                sleep(Duration::from_secs(10)).await;
                writer.write(Event::Heartbeat).unwrap();
            }
        };
        tokio::select! {
            bytes = stream.next() => assert_eq!(bytes.unwrap().unwrap(), ": keepalive\n\n"),
            () = child => panic!("the client hears nothing for too long"),
        }
        assert_eq!(started.elapsed().as_secs(), 15);
    }
}
