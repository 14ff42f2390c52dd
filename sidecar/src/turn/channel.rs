//! The two ends of a turn: the child's side writes events, the client's side reads them in time.
//! Writing never waits, since one child serves many turns; what a client has not read yet is bounded by bytes.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::event_buffer::EventBuffer;
use super::lazy_timer::LazyTimer;
use super::{Deadline, Event, Outcome, TurnError};

/// How long a turn may take; `None` is for ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timers {
    /// From the request to the last event.
    pub request: Option<Duration>,
    /// From the request to the child's first sign of life.
    pub first_sign: Option<Duration>,
    /// Between two signs of life.
    pub silence: Option<Duration>,
}

/// Memory that may be held for a client that reads slowly. Enough for some 200,000 tokens, each a delta: more than a
/// model writes in one answer, so that a slow reader is served whole. A child is shared by many turns, so its pipe
/// cannot wait for one of them.
const MAX_WAITING_BYTES: usize = 4 << 20;

/// Makes the two ends of a turn: the child's side writes events, the client's side reads them.
/// `cancel` fires when the client's side is dropped.
pub fn channel(timers: Timers, cancel: CancellationToken) -> (EventWriter, Turn) {
    let shared = Arc::new(Shared::default());
    let now = Instant::now();
    let turn = Turn {
        shared: Arc::clone(&shared),
        timers,
        request_deadline: timers.request.map(|limit| now + limit),
        silence_deadline: timers.first_sign.map(|limit| now + limit),
        timer: LazyTimer::default(),
        over: false,
        cancel: Some(cancel.drop_guard()),
    };
    (EventWriter { shared }, turn)
}

#[derive(Debug, Default)]
struct Shared(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    backlog: EventBuffer,
    finished: bool,
    /// Who waits for an event.
    reader: Option<Waker>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The child's end of a turn. Dropping it before `Finished` is a failure that the client is told of.
#[derive(Debug)]
pub struct EventWriter {
    shared: Arc<Shared>,
}

impl EventWriter {
    /// Hands an event over; what comes after `Finished` is dropped.
    ///
    /// # Errors
    /// `SlowReader` when more than 4 MiB would wait; the turn has then failed and should be interrupted.
    pub fn write(&self, event: Event) -> Result<(), TurnError> {
        self.change(|waiting| {
            if waiting.backlog.bytes() + event.size() > MAX_WAITING_BYTES {
                waiting.finish(Outcome::Failed(TurnError::SlowReader));
                return Err(TurnError::SlowReader);
            }
            waiting.push(event);
            Ok(())
        })
    }

    /// Makes a change, and wakes the reader for it once others can have the lock.
    fn change<T>(&self, change: impl FnOnce(&mut Waiting) -> T) -> T {
        let mut waiting = self.shared.lock();
        let changed = change(&mut waiting);
        let reader = waiting.reader.take();
        drop(waiting);
        if let Some(reader) = reader {
            reader.wake();
        }
        changed
    }
}

impl Drop for EventWriter {
    fn drop(&mut self) {
        self.change(|waiting| waiting.finish(Outcome::Failed(TurnError::ChildExited)));
    }
}

impl Waiting {
    fn push(&mut self, event: Event) {
        match event {
            Event::Finished(outcome) => self.finish(outcome),
            Event::Heartbeat if !self.backlog.is_empty() => {}
            _ if self.finished => {}
            event => self.backlog.push(event),
        }
    }

    fn finish(&mut self, outcome: Outcome) {
        if !self.finished {
            self.finished = true;
            self.backlog.push(Event::Finished(outcome));
        }
    }

    fn poll_pop(&mut self, context: &Context<'_>) -> Poll<Event> {
        if let Some(event) = self.backlog.pop() {
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
    silence_deadline: Option<Instant>,
    timer: LazyTimer,
    over: bool,
    cancel: Option<DropGuard>,
}

impl Turn {
    /// The next event; `None` after `Finished`. A deadline that passes finishes the turn and interrupts the child.
    /// May be dropped before it is ready: no event is lost.
    pub async fn next(&mut self) -> Option<Event> {
        if self.over {
            return None;
        }
        let (deadline, kind) = self.nearest_deadline();
        Some(tokio::select! {
            biased;
            event = poll_fn(|context| self.shared.lock().poll_pop(context)) => self.note(event),
            () = self.timer.until(deadline) => self.expire(kind),
        })
    }

    /// Whether `Finished` was read.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// The next event if one waits already.
    pub fn try_next(&mut self) -> Option<Event> {
        let event = self.shared.lock().backlog.pop()?;
        Some(self.note(event))
    }

    /// Something has happened: the child is alive, or it has finished.
    fn note(&mut self, event: Event) -> Event {
        self.silence_deadline = self.timers.silence.map(|limit| Instant::now() + limit);
        self.over = matches!(event, Event::Finished(_));
        event
    }

    fn nearest_deadline(&self) -> (Option<Instant>, Deadline) {
        match (self.request_deadline, self.silence_deadline) {
            (Some(request), Some(silence)) if silence < request => (Some(silence), Deadline::Idle),
            (Some(request), _) => (Some(request), Deadline::Request),
            (None, silence) => (silence, Deadline::Idle),
        }
    }

    fn expire(&mut self, kind: Deadline) -> Event {
        self.over = true;
        self.cancel = None;
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

    fn timers(request: u64, first_sign: u64, silence: u64) -> Timers {
        Timers {
            request: Some(Duration::from_secs(request)),
            first_sign: Some(Duration::from_secs(first_sign)),
            silence: Some(Duration::from_secs(silence)),
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
    async fn events_come_in_order_and_the_first_end_is_the_only_one() {
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
    async fn a_child_that_goes_without_a_word_fails_the_turn() {
        let (writer, mut turn) = channel(Timers::default(), CancellationToken::new());
        drop(writer);
        let failed = Event::Finished(Outcome::Failed(TurnError::ChildExited));
        assert_eq!(read_all(&mut turn).await, [failed]);
    }

    #[tokio::test]
    async fn an_answer_that_nobody_reads_is_bounded() {
        let (writer, mut turn) = channel(Timers::default(), CancellationToken::new());
        writer.write(text(&"x".repeat(MAX_WAITING_BYTES))).unwrap();
        assert_eq!(writer.write(text("y")), Err(TurnError::SlowReader));
        let events = read_all(&mut turn).await;
        assert_eq!(
            events.last(),
            Some(&Event::Finished(Outcome::Failed(TurnError::SlowReader)))
        );
    }

    #[tokio::test]
    async fn a_client_that_leaves_cancels_the_turn() {
        let cancel = CancellationToken::new();
        let (_writer, turn) = channel(Timers::default(), cancel.clone());
        assert!(!cancel.is_cancelled());
        drop(turn);
        assert!(cancel.is_cancelled());
    }

    /// Reads a turn whose child writes an event after each of `waits` seconds, then nothing more.
    async fn deadline_after(timers: Timers, waits: &[u64]) -> (u64, Option<Event>) {
        let cancel = CancellationToken::new();
        let (writer, mut turn) = channel(timers, cancel.clone());
        let started = Instant::now();
        let child = async {
            for seconds in waits {
                tokio::time::sleep(Duration::from_secs(*seconds)).await;
                let _over = writer.write(text("x"));
            }
            std::future::pending::<()>().await;
        };
        let last = tokio::select! {
            events = read_all(&mut turn) => events.last().cloned(),
            () = child => None,
        };
        assert!(
            cancel.is_cancelled(),
            "a deadline ends the turn in the child too"
        );
        (started.elapsed().as_secs(), last)
    }

    #[tokio::test(start_paused = true)]
    async fn each_deadline_ends_the_turn_in_its_own_time() {
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
                    first_sign: None,
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
