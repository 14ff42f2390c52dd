//! A turn with its client: truncation of the text, observers, and the handling of a disconnected client.
//! The truncation rules are in `truncate`; they are applied to events and deadlines here.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::allowance::{AllowanceEnd, OutputAllowance};
use super::lazy_timer::LazyTimer;
use super::{
    Event, FinishReason, Outcome, TruncationRules, Truncator, Turn, TurnError, TurnOrigin,
    UsedTokens,
};

/// Receives every event of a turn that is sent to its client. Dropped before `Finished`: the client disconnected.
pub trait TurnObserver: fmt::Debug + Send {
    /// Handles the next event.
    fn on_event(&mut self, event: &Event);

    /// Handles the start of the response while the turn is in progress: the HTTP status is sent.
    fn on_status_sent(&mut self) {}
}

/// A turn with its client. Dropping it interrupts the turn, or continues the turn in the background.
#[derive(Debug)]
pub struct ClientTurn {
    /// `None` after a truncated or cancelled end, and after the turn has moved to the background.
    turn: Option<Turn>,
    /// The tasks that continue turns without their clients; `None` interrupts the turn instead.
    background: Option<TaskTracker>,
    truncator: Option<Truncator>,
    /// The output that the key's budget allows; `None` is unlimited.
    allowance: Option<OutputAllowance>,
    /// The part of an event that waits for the next slice of the allowance.
    held: Option<Event>,
    /// The tokens of the model requests that have ended.
    used: Option<UsedTokens>,
    timer: LazyTimer,
    /// Fires when the client cancels the turn in another request.
    cancelled: Option<CancellationToken>,
    /// Events to return next: one event of the turn may become two.
    ready: VecDeque<Event>,
    /// The observers, which move to the background with the turn.
    observers: Vec<Box<dyn TurnObserver>>,
    origin: TurnOrigin,
}

impl ClientTurn {
    /// Returns a turn with its text truncated by `rules`. When the client disconnects, the turn continues in
    /// `background`, or is interrupted if that is `None`.
    pub fn new(
        turn: Turn,
        background: Option<TaskTracker>,
        rules: &TruncationRules,
        observers: Vec<Box<dyn TurnObserver>>,
    ) -> Self {
        // Without rules there is no truncator, so that deltas pass without a copy.
        let truncates = *rules != TruncationRules::default();
        Self {
            origin: turn.origin(),
            turn: Some(turn),
            background,
            truncator: truncates.then(|| Truncator::new(rules)),
            allowance: None,
            held: None,
            used: None,
            timer: LazyTimer::default(),
            cancelled: None,
            ready: VecDeque::new(),
            observers,
        }
    }

    /// Ends the turn as `Interrupted` when `cancelled` fires, even where it would continue without its client.
    #[must_use]
    pub fn until(mut self, cancelled: CancellationToken) -> Self {
        self.cancelled = Some(cancelled);
        self
    }

    /// Ends the turn with [`FinishReason::Budget`] when its output has used up `allowance`.
    #[must_use]
    pub fn within(mut self, allowance: Option<OutputAllowance>) -> Self {
        self.allowance = allowance;
        self
    }

    /// Returns the origin of the turn's thread.
    pub fn origin(&self) -> TurnOrigin {
        self.origin.clone()
    }

    /// Returns the next event, as [`Turn::next`]. At the end of a truncated text the turn is interrupted, and
    /// `Finished` has the finish reason of the rule.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.next_ready() {
                return Some(event);
            }
            self.read().await?;
        }
    }

    /// Reads an event of the turn into `ready`; `None` after the end of the turn.
    async fn read(&mut self) -> Option<()> {
        let deadline = self.truncator.as_ref().and_then(Truncator::deadline);
        let turn = self.turn.as_mut()?;
        let is_held = self.held.is_some();
        tokio::select! {
            // In this order: a cancelled turn ends even if its child writes without a pause, and text that is ready
            // at the deadline of the truncator still counts.
            biased;
            () = fired(self.cancelled.as_ref()) => self.finish(Outcome::Interrupted),
            more = more_output(self.allowance.as_mut()), if is_held => self.on_more(more),
            event = turn.next(), if !is_held => self.on_event(event?),
            () = self.timer.until(deadline) => self.expire(),
        }
        Some(())
    }

    /// Waits until the model has answered or the turn has ended, for at most `limit`, and returns whether the turn
    /// failed without output. No event is consumed. The future may be dropped before it is ready: no event is lost.
    pub async fn fails_before_output(&mut self, limit: Duration) -> bool {
        timeout(limit, self.until_output()).await.ok(); // After the limit the turn has not failed yet.
        matches!(
            self.ready.front(),
            Some(Event::Finished(Outcome::Failed(_) | Outcome::Interrupted))
        )
    }

    async fn until_output(&mut self) {
        loop {
            // A heartbeat shows that Codex works, not that the model has answered; no observer needs it.
            self.ready.retain(|event| *event != Event::Heartbeat);
            if !self.ready.is_empty() || self.read().await.is_none() {
                return;
            }
        }
    }

    /// Tells the observers that the response starts while the turn is in progress.
    pub fn on_status_sent(&mut self) {
        for observer in &mut self.observers {
            observer.on_status_sent();
        }
    }

    /// Returns the next event if there is one already, as [`Turn::try_next`].
    pub fn try_next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.next_ready() {
                return Some(event);
            }
            if self.held.is_some() {
                return None;
            }
            let event = self.turn.as_mut()?.try_next()?;
            self.on_event(event);
        }
    }

    fn next_ready(&mut self) -> Option<Event> {
        let event = self.ready.pop_front()?;
        // Here and not in `on_event`: observers see the events of the client, after truncation.
        notify(&mut self.observers, &event);
        Some(event)
    }

    /// Returns the part of an event that the allowance covers, and holds the rest.
    fn allow(&mut self, event: Event) -> Option<Event> {
        if let Event::Used(used) = &event {
            self.used = Some(*used);
        }
        let Some(allowance) = &mut self.allowance else {
            return Some(event);
        };
        let (allowed, held) = allowance.split(event);
        self.held = held;
        allowed
    }

    /// Returns the outcome of a turn that Codex has ended at a cap on its tokens. An answer without calls is complete.
    fn capped(&self) -> Outcome {
        let cap = self.allowance.as_ref().and_then(OutputAllowance::cap);
        let (Some(limit), Some(used)) = (cap, self.used) else {
            return Outcome::Failed(TurnError::BudgetExceeded);
        };
        Outcome::Completed {
            stop: match used.goes_on {
                true => FinishReason::Budget(limit),
                false => FinishReason::Stop,
            },
            usage: Some(used.usage),
        }
    }

    /// Continues with the held event, or ends the turn.
    fn on_more(&mut self, more: Result<(), AllowanceEnd>) {
        let held = self.held.take();
        let outcome = match more {
            // Not to be checked twice.
            Ok(()) if matches!(held, Some(Event::Used(_))) => return self.ready.extend(held),
            Ok(()) => return held.into_iter().for_each(|event| self.on_event(event)),
            Err(AllowanceEnd::Spent(limit)) => Outcome::Completed {
                stop: FinishReason::Budget(limit),
                usage: self.used.map(|used| used.usage),
            },
            Err(AllowanceEnd::Unavailable) => Outcome::Failed(TurnError::LedgerUnavailable),
        };
        let flushed = self.truncator.as_mut().map(Truncator::flush);
        self.push_text(flushed.unwrap_or_default().text);
        self.finish(outcome);
    }

    /// Applies the allowance and the rules to an event.
    fn on_event(&mut self, event: Event) {
        let event = match event {
            Event::Finished(Outcome::Failed(TurnError::BudgetExceeded)) => {
                Event::Finished(self.capped())
            }
            event => event,
        };
        let Some(event) = self.allow(event) else {
            return;
        };
        let Some(truncator) = &mut self.truncator else {
            self.ready.push_back(event);
            return;
        };
        let (truncated, next) = match event {
            Event::Text(text) => (truncator.push(&text, Instant::now()), None),
            // A stop sequence does not extend over one of these. Text that is held back as its possible start is
            // released now, and goes first: the model wrote the text before the call, and no event follows `Finished`.
            Event::MessageEnded | Event::ToolCall(_) | Event::Finished(_) => {
                (truncator.flush(), Some(event))
            }
            // These are not part of the text: they pass at once, and text that is held back stays so.
            Event::Heartbeat
            | Event::Used(_)
            | Event::MessagePhase(_)
            | Event::Reasoning(_)
            | Event::ReasoningPartAdded
            | Event::ReasoningItem(_) => return self.ready.push_back(event),
        };
        self.push_text(truncated.text);
        match truncated.end {
            Some(reason) => self.end(reason),
            None => self.ready.extend(next),
        }
    }

    /// Ends the turn at the deadline of the truncator: no text came within the grace after a tool block.
    fn expire(&mut self) {
        let truncated = self
            .truncator
            .as_mut()
            .map(Truncator::flush)
            .unwrap_or_default();
        self.push_text(truncated.text);
        self.end(truncated.end.unwrap_or(FinishReason::Stop));
    }

    fn push_text(&mut self, text: String) {
        if !text.is_empty() {
            self.ready.push_back(Event::Text(text));
        }
    }

    fn end(&mut self, reason: FinishReason) {
        self.finish(Outcome::Completed {
            stop: reason,
            usage: None, // Codex reports no usage for an interrupted turn.
        });
    }

    fn finish(&mut self, outcome: Outcome) {
        self.turn = None; // Dropping the turn interrupts it in the child.
        self.ready.push_back(Event::Finished(outcome));
    }
}

async fn more_output(allowance: Option<&mut OutputAllowance>) -> Result<(), AllowanceEnd> {
    match allowance {
        Some(allowance) => allowance.more().await,
        None => Ok(()),
    }
}

async fn fired(token: Option<&CancellationToken>) {
    match token {
        Some(token) => token.cancelled().await,
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
        if let (Some(turn), Some(background)) = (self.turn.take(), &self.background)
            && !turn.is_over()
        {
            // The observers go along, so that the usage of the whole turn is recorded; so does the allowance.
            let mut rest = Self {
                turn: Some(turn),
                background: None,
                truncator: None,
                allowance: self.allowance.take(),
                held: self.held.take(),
                used: self.used,
                timer: LazyTimer::default(),
                cancelled: None,
                ready: std::mem::take(&mut self.ready),
                observers: std::mem::take(&mut self.observers),
                origin: self.origin.clone(),
            };
            background.spawn(async move { while rest.next().await.is_some() {} });
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use futures_util::future::BoxFuture;
    use tokio::sync::oneshot;

    use super::*;
    use crate::turn::{
        Grant, LimitName, OutputBudget, Period, Scope, SpentLimit, Timers, Usage, channel,
    };

    const LIMIT: SpentLimit = SpentLimit {
        name: LimitName {
            period: Period::Day,
            scope: Scope::Input,
        },
        resets_at_ms: 1,
    };

    const USAGE: Usage = Usage {
        input_tokens: 900,
        cached_input_tokens: 0,
        output_tokens: 40,
        reasoning_tokens: 0,
    };

    /// The budget of an agent, with the same answer to each check.
    #[derive(Debug)]
    struct Checks(Grant);

    impl OutputBudget for Checks {
        fn ask(&mut self) -> oneshot::Receiver<Grant> {
            oneshot::channel().1
        }

        fn check(&mut self, _used: &Usage) -> Option<BoxFuture<'static, Grant>> {
            let grant = self.0;
            Some(async move { grant }.boxed())
        }
    }

    /// Plays the end of a model request, then `end`, and returns the outcome.
    async fn outcome(
        grant: Grant,
        goes_on: bool,
        cap: Option<SpentLimit>,
        end: Outcome,
    ) -> Outcome {
        let (writer, turn) = channel(Timers::default(), CancellationToken::new());
        let allowance = OutputAllowance::new(Box::new(Checks(grant)), 1000, 4.0).with_cap(cap);
        let mut turn = ClientTurn::new(turn, None, &TruncationRules::default(), Vec::new())
            .within(Some(allowance));
        let used = UsedTokens {
            usage: USAGE,
            goes_on,
        };
        writer.write(Event::Used(used)).unwrap();
        writer.write(Event::Finished(end)).unwrap();
        loop {
            if let Event::Finished(outcome) = turn.next().await.unwrap() {
                return outcome;
            }
        }
    }

    fn ended(stop: FinishReason) -> Outcome {
        let usage = Some(USAGE);
        Outcome::Completed { stop, usage }
    }

    #[tokio::test]
    async fn agent_ends_at_its_budget_unless_its_answer_is_complete() {
        let spent = Grant::Spent(LIMIT);
        let budget = ended(FinishReason::Budget(LIMIT));
        let stop = || ended(FinishReason::Stop);
        assert_eq!(outcome(spent, true, None, stop()).await, budget);
        assert_eq!(outcome(spent, false, None, stop()).await, stop());
    }

    #[tokio::test]
    async fn cap_of_codex_is_the_end_of_the_budget_or_of_a_complete_answer() {
        let capped = || Outcome::Failed(TurnError::BudgetExceeded);
        let open = Grant::Tokens(0);
        let budget = ended(FinishReason::Budget(LIMIT));
        assert_eq!(outcome(open, true, Some(LIMIT), capped()).await, budget);
        let stop = ended(FinishReason::Stop);
        assert_eq!(outcome(open, false, Some(LIMIT), capped()).await, stop);
        // The cap is the operator's.
        assert_eq!(outcome(open, true, None, capped()).await, capped());
    }
}
