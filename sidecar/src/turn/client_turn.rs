//! A turn with its client: what of the text the client wants, and what becomes of the turn when the client leaves.
//! The rules of cutting are in `cut`; here they meet the events and the clock.

use std::collections::VecDeque;
use std::fmt;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::lazy_timer::LazyTimer;
use super::{Event, FinishReason, Outcome, TruncationRules, Truncator, Turn};

/// Sees what a client is given of a turn. One that is dropped before it has seen `Finished` has seen a client leave.
pub trait TurnObserver: fmt::Debug + Send {
    /// Is shown every event, in order.
    fn on_event(&mut self, event: &Event);
}

/// A turn that knows what shall become of it when its client leaves.
#[derive(Debug)]
pub struct ClientTurn {
    /// `None` once it is handed on, or has been cut.
    turn: Option<Turn>,
    /// Where it goes on without its client; `None` interrupts it instead.
    background: Option<TaskTracker>,
    cutter: Option<Truncator>,
    timer: LazyTimer,
    /// Fires when the client wants no more of it, and says so elsewhere.
    stop: Option<CancellationToken>,
    /// Events that came of one.
    ready: VecDeque<Event>,
    /// Goes along when the turn is handed on.
    observers: Vec<Box<dyn TurnObserver>>,
}

impl ClientTurn {
    /// A turn whose text is cut by `rules`, and that is interrupted when this is dropped, or goes on in `background`.
    pub fn new(
        turn: Turn,
        background: Option<TaskTracker>,
        rules: &TruncationRules,
        observers: Vec<Box<dyn TurnObserver>>,
    ) -> Self {
        let cuts = *rules != TruncationRules::default();
        Self {
            turn: Some(turn),
            background,
            cutter: cuts.then(|| Truncator::new(rules)),
            timer: LazyTimer::default(),
            stop: None,
            ready: VecDeque::new(),
            observers,
        }
    }

    /// Lets `stop` end it as `Interrupted`, wherever it would go on without its client.
    #[must_use]
    pub fn until(mut self, stop: CancellationToken) -> Self {
        self.stop = Some(stop);
        self
    }

    /// As [`Turn::next`]. A text that is cut ends the turn: it is interrupted, and `Finished` says why.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.next_ready() {
                return Some(event);
            }
            let deadline = self.cutter.as_ref().and_then(Truncator::deadline);
            let turn = self.turn.as_mut()?;
            tokio::select! {
                biased;
                () = fired(self.stop.as_ref()) => self.finish(Outcome::Interrupted),
                event = turn.next() => self.pass(event?),
                () = self.timer.until(deadline) => self.expire(),
            }
        }
    }

    /// As [`Turn::try_next`].
    pub fn try_next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.next_ready() {
                return Some(event);
            }
            let event = self.turn.as_mut()?.try_next()?;
            self.pass(event);
        }
    }

    fn next_ready(&mut self) -> Option<Event> {
        let event = self.ready.pop_front()?;
        notify(&mut self.observers, &event);
        Some(event)
    }

    /// Lets an event through, with what the rules leave of its text. Text that is held back goes before whatever
    /// cannot become a part of it.
    fn pass(&mut self, event: Event) {
        let Some(cutter) = &mut self.cutter else {
            self.ready.push_back(event);
            return;
        };
        let (cut, after) = match event {
            Event::Text(text) => (cutter.push(&text, Instant::now()), None),
            Event::MessageEnded | Event::ToolCall(_) | Event::Finished(_) => {
                (cutter.flush(), Some(event))
            }
            Event::Heartbeat
            | Event::Reasoning(_)
            | Event::ReasoningPartAdded
            | Event::ReasoningItem(_) => return self.ready.push_back(event),
        };
        self.push_text(cut.text);
        match cut.end {
            Some(stop) => self.end(stop),
            None => self.ready.extend(after),
        }
    }

    /// No text came in the time after which there is enough.
    fn expire(&mut self) {
        let cut = self
            .cutter
            .as_mut()
            .map(Truncator::flush)
            .unwrap_or_default();
        self.push_text(cut.text);
        self.end(cut.end.unwrap_or(FinishReason::Stop));
    }

    fn push_text(&mut self, text: String) {
        if !text.is_empty() {
            self.ready.push_back(Event::Text(text));
        }
    }

    fn end(&mut self, stop: FinishReason) {
        let usage = None; // Codex reports none for a turn that is interrupted in its text.
        self.finish(Outcome::Completed { stop, usage });
    }

    fn finish(&mut self, outcome: Outcome) {
        self.turn = None;
        self.ready.push_back(Event::Finished(outcome));
    }
}

async fn fired(stop: Option<&CancellationToken>) {
    match stop {
        Some(stop) => stop.cancelled().await,
        None => std::future::pending().await,
    }
}

fn notify(observers: &mut [Box<dyn TurnObserver>], event: &Event) {
    for observer in observers {
        observer.on_event(event);
    }
}

impl Drop for ClientTurn {
    fn drop(&mut self) {
        if let (Some(mut turn), Some(background)) = (self.turn.take(), &self.background)
            && !turn.is_over()
        {
            let mut observers = std::mem::take(&mut self.observers);
            background.spawn(async move {
                while let Some(event) = turn.next().await {
                    notify(&mut observers, &event);
                }
            });
        }
    }
}
