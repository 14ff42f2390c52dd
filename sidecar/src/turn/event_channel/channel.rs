//! The two ends of a turn: the worker writes events, the client's side reads them before its deadlines.
//! Writing never waits, since one child serves many turns; unread events are bounded by their bytes.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::event_buffer::EventBuffer;
use crate::turn::lazy_timer::LazyTimer;
use crate::turn::{Deadline, Event, Outcome, ThreadOrigin, TurnError, TurnOrigin};

/// Time limits of a turn; `None` is unlimited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timers {
    /// From the request to the last event.
    pub request: Option<Duration>,
    /// From the request to the first event.
    pub first_event: Option<Duration>,
    /// Between two events, heartbeats included.
    pub idle: Option<Duration>,
}

/// Bytes of unread events. Enough for some 200,000 tokens, each a delta: more than a model writes in one turn, so that
/// a slow reader still receives all of it. Many turns share a child, so its pipe cannot wait for one of them.
const MAX_UNREAD_BYTES: usize = 4 << 20;

/// Returns the two ends of a turn. `cancel` fires when the `Turn` is dropped or passes a deadline.
pub fn channel(timers: Timers, cancel: CancellationToken) -> (EventWriter, Turn) {
    let shared = Arc::new(Shared::default());
    let origin = TurnOrigin::default();
    let now = Instant::now();
    let turn = Turn {
        shared: Arc::clone(&shared),
        timers,
        request_deadline: timers.request.map(|limit| now + limit),
        idle_deadline: timers.first_event.map(|limit| now + limit),
        timer: LazyTimer::default(),
        is_over: false,
        cancel: Some(cancel.drop_guard()),
        origin: origin.clone(),
    };
    (EventWriter { shared, origin }, turn)
}

#[derive(Debug, Default)]
struct Shared(Mutex<UnreadEvents>);

#[derive(Debug, Default)]
struct UnreadEvents {
    buffer: EventBuffer,
    finished: bool,
    /// The task that waits for an event.
    reader: Option<Waker>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, UnreadEvents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The worker's end of a turn. Dropping it before `Finished` fails the turn with `ChildExited`.
#[derive(Debug)]
pub struct EventWriter {
    shared: Arc<Shared>,
    origin: TurnOrigin,
}

impl EventWriter {
    /// Adds an event; events after `Finished` are dropped.
    ///
    /// # Errors
    /// `SlowReader` when the unread events would exceed 4 MiB. The turn has then failed, and the caller interrupts it.
    pub fn write(&self, event: Event) -> Result<(), TurnError> {
        self.change(|unread| {
            if unread.buffer.bytes() + event.size() > MAX_UNREAD_BYTES {
                unread.finish(Outcome::Failed(TurnError::SlowReader));
                return Err(TurnError::SlowReader);
            }
            unread.push(event);
            Ok(())
        })
    }

    /// Sets the origin of the turn's thread.
    pub fn set_origin(&self, origin: ThreadOrigin) {
        self.origin.set(origin);
    }

    /// Makes a change, and wakes the reader.
    fn change<T>(&self, change: impl FnOnce(&mut UnreadEvents) -> T) -> T {
        let mut unread = self.shared.lock();
        let changed = change(&mut unread);
        let reader = unread.reader.take();
        // Wake after unlocking: the reader may run on another thread at once and would wait for the lock.
        drop(unread);
        if let Some(reader) = reader {
            reader.wake();
        }
        changed
    }
}

impl Drop for EventWriter {
    fn drop(&mut self) {
        self.change(|unread| unread.finish(Outcome::Failed(TurnError::ChildExited)));
    }
}

impl UnreadEvents {
    fn push(&mut self, event: Event) {
        match event {
            Event::Finished(outcome) => self.finish(outcome),
            // A heartbeat only shows that the turn is alive; any unread event shows the same.
            Event::Heartbeat if !self.buffer.is_empty() => {}
            _ if self.finished => {}
            event => self.buffer.push(event),
        }
    }

    fn finish(&mut self, outcome: Outcome) {
        if !self.finished {
            self.finished = true;
            self.buffer.push(Event::Finished(outcome));
        }
    }

    fn poll_pop(&mut self, context: &Context<'_>) -> Poll<Event> {
        if let Some(event) = self.buffer.pop() {
            return Poll::Ready(event);
        }
        self.reader = Some(context.waker().clone());
        Poll::Pending
    }
}

/// The client's end of a turn. Dropping it interrupts the turn in the child.
#[derive(Debug)]
pub struct Turn {
    shared: Arc<Shared>,
    timers: Timers,
    request_deadline: Option<Instant>,
    idle_deadline: Option<Instant>,
    timer: LazyTimer,
    is_over: bool,
    cancel: Option<DropGuard>,
    origin: TurnOrigin,
}

impl Turn {
    /// Returns the next event, or `None` after `Finished`. A passed deadline finishes the turn and fires `cancel`.
    /// The future may be dropped before it is ready: no event is lost.
    pub async fn next(&mut self) -> Option<Event> {
        if self.is_over {
            return None;
        }
        let (deadline, kind) = self.nearest_deadline();
        Some(tokio::select! {
            // Events first: an event that is ready at its deadline still counts.
            biased;
            event = poll_fn(|context| self.shared.lock().poll_pop(context)) => self.on_event(event),
            () = self.timer.until(deadline) => self.expire(kind),
        })
    }

    /// Returns the origin of the turn's thread.
    pub fn origin(&self) -> TurnOrigin {
        self.origin.clone()
    }

    /// Whether `Finished` was read.
    pub(in crate::turn) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Returns the next event if there is one already.
    pub fn try_next(&mut self) -> Option<Event> {
        let event = self.shared.lock().buffer.pop()?;
        Some(self.on_event(event))
    }

    /// Restarts the idle deadline, and notes the end.
    fn on_event(&mut self, event: Event) -> Event {
        self.idle_deadline = self.timers.idle.map(|limit| Instant::now() + limit);
        self.is_over = matches!(event, Event::Finished(_));
        event
    }

    fn nearest_deadline(&self) -> (Option<Instant>, Deadline) {
        match (self.request_deadline, self.idle_deadline) {
            (Some(request), Some(silence)) if silence < request => (Some(silence), Deadline::Idle),
            (Some(request), _) => (Some(request), Deadline::Request),
            (None, silence) => (silence, Deadline::Idle),
        }
    }

    fn expire(&mut self, kind: Deadline) -> Event {
        self.is_over = true;
        self.cancel = None; // Dropping the guard fires the token.
        Event::Finished(Outcome::Failed(TurnError::Deadline(kind)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::FinishReason;

    const COMPLETED: Outcome = Outcome::Completed {
        stop: FinishReason::Stop,
        usage: None,
    };

    fn text(text: &str) -> Event {
        Event::Text(text.to_owned())
    }

    fn timers(request: u64, first_event: u64, idle: u64) -> Timers {
        Timers {
            request: Some(Duration::from_secs(request)),
            first_event: Some(Duration::from_secs(first_event)),
            idle: Some(Duration::from_secs(idle)),
        }
    }

    async fn read_all(turn: &mut Turn) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = turn.next().await {
            events.push(event);
        }
        events
    }

    #[tokio::test]
    async fn events_after_the_first_finished_are_dropped() {
        let (writer, mut turn) = channel(Timers::default(), CancellationToken::new());
        for event in [
            text("a"),
            Event::Finished(COMPLETED),
            text("late"),
            Event::Finished(Outcome::Interrupted),
        ] {
            writer.write(event).unwrap();
        }
        drop(writer);
        assert_eq!(
            read_all(&mut turn).await,
            [text("a"), Event::Finished(COMPLETED)]
        );
    }

    #[tokio::test]
    async fn a_dropped_writer_fails_the_turn() {
        let (writer, mut turn) = channel(Timers::default(), CancellationToken::new());
        drop(writer);
        let failed = Event::Finished(Outcome::Failed(TurnError::ChildExited));
        assert_eq!(read_all(&mut turn).await, [failed]);
    }

    #[tokio::test]
    async fn unread_events_are_bounded() {
        let (writer, mut turn) = channel(Timers::default(), CancellationToken::new());
        writer.write(text(&"x".repeat(MAX_UNREAD_BYTES))).unwrap();
        assert_eq!(writer.write(text("y")), Err(TurnError::SlowReader));
        let events = read_all(&mut turn).await;
        assert_eq!(
            events.last(),
            Some(&Event::Finished(Outcome::Failed(TurnError::SlowReader)))
        );
    }

    #[tokio::test]
    async fn dropping_the_turn_cancels_it() {
        let cancel = CancellationToken::new();
        let (_writer, turn) = channel(Timers::default(), cancel.clone());
        assert!(!cancel.is_cancelled());
        drop(turn);
        assert!(cancel.is_cancelled());
    }

    /// Reads a turn in which events come after the given seconds, then none. Returns the time of the end, and the last
    /// event.
    async fn deadline_after(timers: Timers, waits: &[u64]) -> (u64, Option<Event>) {
        let cancel = CancellationToken::new();
        let (writer, mut turn) = channel(timers, cancel.clone());
        let started = Instant::now();
        let child = async {
            for seconds in waits {
                tokio::time::sleep(Duration::from_secs(*seconds)).await;
                writer.write(text("x")).ok(); // The turn may have ended.
            }
            std::future::pending::<()>().await;
        };
        let last = tokio::select! {
            events = read_all(&mut turn) => events.last().cloned(),
            () = child => None,
        };
        assert!(cancel.is_cancelled(), "a passed deadline cancels the turn");
        (started.elapsed().as_secs(), last)
    }

    #[tokio::test(start_paused = true)]
    async fn each_deadline_ends_the_turn_at_its_time() {
        let failed = |kind| Some(Event::Finished(Outcome::Failed(TurnError::Deadline(kind))));
        for (timers, waits, expected) in [
            (timers(100, 15, 30), &[][..], (15, failed(Deadline::Idle))),
            (timers(100, 15, 30), &[10][..], (40, failed(Deadline::Idle))),
            (
                timers(100, 15, 30),
                &[10, 20][..],
                (60, failed(Deadline::Idle)),
            ),
            (
                timers(50, 15, 30),
                &[10, 20][..],
                (50, failed(Deadline::Request)),
            ),
            (
                Timers {
                    first_event: None,
                    ..timers(50, 0, 30)
                },
                &[][..],
                (50, failed(Deadline::Request)),
            ),
        ] {
            assert_eq!(
                deadline_after(timers, waits).await,
                expected,
                "{timers:?} {waits:?}"
            );
        }
    }
}
