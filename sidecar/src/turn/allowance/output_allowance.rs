//! The output that the budget of a key allows a turn, granted in slices while the turn streams.
//! A slice is asked for when a quarter of the one before it is left, so that a stream seldom waits for it.

use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::limit::SpentLimit;
use crate::turn::{Event, Usage, UsedTokens};

/// Longest wait for a slice. A ledger on a local disk answers within milliseconds; one that hangs must not hold a stream.
const GRANT_TIMEOUT: Duration = Duration::from_secs(2);

/// The answer to a turn that asks for more output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// The turn may write this many further tokens.
    Tokens(u64),
    /// A limit of the key is used up.
    Spent(SpentLimit),
    /// The ledger cannot be read or written.
    Unavailable,
}

/// The ledger as a turn sees it.
pub trait OutputBudget: fmt::Debug + Send {
    /// Asks for the next slice of output. The ledger reserves it before the answer.
    fn ask(&mut self) -> oneshot::Receiver<Grant>;

    /// Asks whether a turn of an agent that has used these tokens may begin another model request; `None` for a turn with
    /// one model request.
    fn check(&mut self, used: &Usage) -> Option<BoxFuture<'static, Grant>> {
        let _ = used;
        None
    }
}

/// The output that a turn may still write.
#[derive(Debug)]
pub struct OutputAllowance {
    budget: Box<dyn OutputBudget>,
    chars_per_token: f64,
    /// Characters of the granted slices that are not written yet.
    left: usize,
    /// Characters of the last slice.
    slice: usize,
    /// The slice that was asked for.
    asked: Option<oneshot::Receiver<Grant>>,
    /// The check of an agent's used tokens, until its answer.
    checked: Option<Checked>,
    /// The limit that an agent's model requests have used up: the turn ends before the next one.
    spent: Option<SpentLimit>,
    /// The limit at which Codex itself ends an agent.
    cap: Option<SpentLimit>,
}

struct Checked {
    answer: BoxFuture<'static, Grant>,
    /// Whether another model request follows.
    goes_on: bool,
}

impl fmt::Debug for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Checked")
    }
}

/// The end of an allowance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AllowanceEnd {
    /// A limit of the key is used up.
    Spent(SpentLimit),
    /// The ledger does not answer.
    Unavailable,
}

impl OutputAllowance {
    /// Returns the allowance of a turn with a first slice of `tokens`.
    pub fn new(budget: Box<dyn OutputBudget>, tokens: u64, chars_per_token: f64) -> Self {
        let mut allowance = Self {
            budget,
            chars_per_token,
            left: 0,
            slice: 0,
            asked: None,
            checked: None,
            spent: None,
            cap: None,
        };
        allowance.add(tokens);
        allowance
    }

    /// Adds the limit at which Codex itself ends the turn.
    #[must_use]
    pub fn with_cap(mut self, cap: Option<SpentLimit>) -> Self {
        self.cap = cap;
        self
    }

    /// Returns the limit that Codex has ended the turn for; `None` for a cap that is not the key's.
    pub(in crate::turn) fn cap(&self) -> Option<SpentLimit> {
        self.spent.or(self.cap)
    }

    /// Returns the part of an event that may be written now, and the rest, which waits for [`Self::more`].
    pub(in crate::turn) fn split(&mut self, event: Event) -> (Option<Event>, Option<Event>) {
        if self.spent.is_some() && !matches!(event, Event::Finished(_)) {
            return (None, Some(event));
        }
        match event {
            Event::Used(UsedTokens { usage, goes_on }) => {
                let answer = self.budget.check(&usage);
                self.checked = answer.map(|answer| Checked { answer, goes_on });
                match self.checked {
                    Some(_) => (None, Some(event)),
                    None => (Some(event), None),
                }
            }
            Event::Text(text) => self.split_text(text, Event::Text),
            Event::Reasoning(text) => self.split_text(text, Event::Reasoning),
            // A call comes whole: it waits until any output is left, and may exceed it once.
            Event::ToolCall(_) if self.left == 0 => (None, Some(event)),
            Event::ToolCall(ref call) => {
                let chars = call.name.chars().count() + call.arguments.chars().count();
                self.count(chars);
                (Some(event), None)
            }
            Event::Heartbeat
            | Event::MessagePhase(_)
            | Event::MessageEnded
            | Event::ReasoningPartAdded
            | Event::ReasoningItem(_)
            | Event::Finished(_) => (Some(event), None),
        }
    }

    fn split_text(
        &mut self,
        mut text: String,
        event: fn(String) -> Event,
    ) -> (Option<Event>, Option<Event>) {
        // A text has at most as many characters as bytes, so that most deltas need no search.
        let fitting = match text.len() <= self.left {
            true => None,
            false => text.char_indices().nth(self.left).map(|(end, _)| end),
        };
        let held = fitting.map(|end| text.split_off(end));
        self.count(text.chars().count());
        (
            (held.is_none() || !text.is_empty()).then(|| event(text)),
            held.map(event),
        )
    }

    /// Counts characters as written, and asks for the next slice in time.
    fn count(&mut self, chars: usize) {
        self.left = self.left.saturating_sub(chars);
        if self.left <= self.slice / 4 && self.asked.is_none() {
            self.asked = Some(self.budget.ask());
        }
    }

    /// Waits for the next slice. The future may be dropped before it is ready: no slice is lost.
    pub(in crate::turn) async fn more(&mut self) -> Result<(), AllowanceEnd> {
        if let Some(limit) = self.spent {
            return Err(AllowanceEnd::Spent(limit));
        }
        if let Some(Checked { answer, goes_on }) = &mut self.checked {
            let (grant, goes_on) = (answer.await, *goes_on);
            self.checked = None;
            return match grant {
                Grant::Tokens(_) => Ok(()),
                Grant::Spent(limit) if goes_on => Err(AllowanceEnd::Spent(limit)),
                // The turn may have ended with this model request, and then it is complete.
                Grant::Spent(limit) => {
                    self.spent = Some(limit);
                    Ok(())
                }
                Grant::Unavailable => Err(AllowanceEnd::Unavailable),
            };
        }
        let asked = self.asked.get_or_insert_with(|| self.budget.ask());
        let grant = match timeout(GRANT_TIMEOUT, asked).await {
            Ok(Ok(grant)) => grant,
            Ok(Err(_)) | Err(_) => Grant::Unavailable,
        };
        self.asked = None;
        match grant {
            Grant::Tokens(tokens) => {
                self.add(tokens);
                Ok(())
            }
            Grant::Spent(limit) => Err(AllowanceEnd::Spent(limit)),
            Grant::Unavailable => Err(AllowanceEnd::Unavailable),
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a slice has few tokens"
    )]
    fn add(&mut self, tokens: u64) {
        // Rounded up: a slice of one token with less than one character each would never end.
        self.slice = (tokens as f64 * self.chars_per_token).ceil() as usize;
        self.left += self.slice;
    }
}
