//! The two ends of a turn: the child's side writes events, the client's side reads them in time.
//! Writing never waits, since one child serves many turns; what a client has not read yet is bounded by bytes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};

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

/// Content that may wait for a client that reads slowly. Far above what a model writes in one answer, so that
/// a slow reader is served whole; a child is shared by many turns, so its pipe cannot wait for one of them.
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
        over: false,
        cancel: Some(cancel.drop_guard()),
    };
    (EventWriter { shared }, turn)
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<Event>,
    bytes: usize,
    finished: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut waiting = self.shared.lock();
        let overflow = waiting.bytes + event.size() > MAX_WAITING_BYTES;
        if overflow {
            waiting.finish(Outcome::Failed(TurnError::SlowReader));
        } else {
            waiting.push(event);
        }
        drop(waiting);
        self.shared.changed.notify_one();
        if overflow {
            Err(TurnError::SlowReader)
        } else {
            Ok(())
        }
    }
}

impl Drop for EventWriter {
    fn drop(&mut self) {
        self.shared
            .lock()
            .finish(Outcome::Failed(TurnError::ChildExited));
        self.shared.changed.notify_one();
    }
}

impl Waiting {
    fn push(&mut self, event: Event) {
        match event {
            Event::Finished(outcome) => self.finish(outcome),
            Event::Progress if !self.events.is_empty() => {}
            _ if self.finished => {}
            event => {
                self.bytes += event.size();
                self.events.push_back(event);
            }
        }
    }

    fn finish(&mut self, outcome: Outcome) {
        if !self.finished {
            self.finished = true;
            self.events.push_back(Event::Finished(outcome));
        }
    }

    fn pop(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        self.bytes -= event.size();
        Some(event)
    }
}

/// The client's end of a turn. Dropping it interrupts the turn in the child.
#[derive(Debug)]
pub struct Turn {
    shared: Arc<Shared>,
    timers: Timers,
    request_deadline: Option<Instant>,
    silence_deadline: Option<Instant>,
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
        loop {
            if let Some(event) = self.try_next() {
                return Some(event);
            }
            let (deadline, kind) = self.nearest_deadline();
            tokio::select! {
                biased;
                () = self.shared.changed.notified() => {}
                () = sleep_until_if(deadline) => return Some(self.expire(kind)),
            }
        }
    }

    /// Whether `Finished` was read.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// The next event if one waits already.
    pub fn try_next(&mut self) -> Option<Event> {
        let event = self.shared.lock().pop()?;
        self.silence_deadline = self.timers.silence.map(|limit| Instant::now() + limit);
        if matches!(event, Event::Finished(_)) {
            self.over = true;
        }
        Some(event)
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

/// For ever when there is no deadline.
pub(super) async fn sleep_until_if(deadline: Option<Instant>) {
    match deadline {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::Stop;

    const COMPLETED: Outcome = Outcome::Completed {
        stop: Stop::Natural,
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
