//! The account of one key: tokens spent by window, and the reservations of its turns. No clock, no IO.

use std::collections::{BTreeMap, HashMap};

use super::budget::{Budget, Tokens};
use super::window::{Window, kept_buckets};
use crate::turn::{Grant, LimitName, Period, Scope, SpentLimit};

/// The largest slice of output in tokens, of a turn that asks for no larger one. A stream asks for the next one when a quarter
/// is left, so that a crash loses 320 tokens of it at most.
pub(super) const MAX_SLICE: u64 = 256;

/// The smallest slice of output in tokens, unless less is left.
const MIN_SLICE: u64 = 16;

/// The part of the remaining tokens that a slice takes, so that parallel turns each get some.
const SLICE_PART: u64 = 16;

/// The part of the remaining tokens that an allocation has room for beyond the open reservations. They are lost in a crash.
const ROOM_PART: u64 = 64;

/// The most tokens of that room, of input and of output.
const MAX_ROOM: u64 = 8192;

/// The state of one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitStatus {
    /// The name of the limit.
    pub name: LimitName,
    /// The tokens of the limit.
    pub limit: u64,
    /// The tokens that are spent in the current window.
    pub spent: u64,
    /// The tokens that are promised to running turns.
    pub reserved: u64,
    /// The end of the window, in milliseconds since the Unix epoch.
    pub resets_at_ms: u64,
}

impl LimitStatus {
    /// Returns the tokens that no turn has spent or reserved.
    pub fn left(&self) -> u64 {
        self.limit
            .saturating_sub(self.spent)
            .saturating_sub(self.reserved)
    }

    /// Whether no turn can begin before the reset.
    pub fn is_spent(&self) -> bool {
        self.spent >= self.limit
    }

    /// Returns the limit without its tokens.
    pub fn as_spent(&self) -> SpentLimit {
        SpentLimit {
            name: self.name,
            resets_at_ms: self.resets_at_ms,
        }
    }
}

/// A reservation that is not granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReserveError {
    /// The tokens do not fit before the window ends.
    Spent(SpentLimit),
    /// The tokens would fit, but are promised to running turns.
    Reserved(SpentLimit),
    /// The ledger cannot be read or written.
    Unavailable,
}

/// The account of a key.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) spent: HashMap<Period, BTreeMap<u64, Tokens>>,
    /// The sum of the open reservations of this process.
    pub(super) reserved: Tokens,
    /// The sum of the allocations of other processes.
    pub(super) elsewhere: Tokens,
}

impl Account {
    /// Returns the state of each limit at `now`.
    pub(super) fn status(&self, budget: &Budget, now: u64) -> Vec<LimitStatus> {
        let limits = budget.limits().iter();
        limits
            .map(|&(name, limit)| self.limit_status(name, limit, now))
            .collect()
    }

    fn limit_status(&self, name: LimitName, limit: u64, now: u64) -> LimitStatus {
        let window = Window::at(name.period, now);
        let counted = || {
            let buckets = self.spent.get(&name.period).into_iter();
            buckets.flat_map(|buckets| buckets.range(window.first..window.end))
        };
        let with_any = counted().find(|(_, tokens)| tokens.of(name.scope) > 0);
        LimitStatus {
            name,
            limit,
            spent: counted()
                .map(|(_, tokens)| tokens.of(name.scope))
                .fold(0, u64::saturating_add),
            reserved: self.reserved.plus(self.elsewhere).of(name.scope),
            resets_at_ms: window.resets_at(name.period, with_any.map(|(start, _)| *start)),
        }
    }

    /// Returns the tokens to reserve for a new turn: its input, and the first slice of its output; with the limits as the
    /// reservation leaves them.
    pub(super) fn begin(
        &self,
        budget: &Budget,
        input: u64,
        now: u64,
    ) -> Result<(Tokens, Vec<LimitStatus>), ReserveError> {
        let mut limits = self.status(budget, now);
        // The limit that holds the turn back for the longest time is the one to name.
        let blocking = limits
            .iter()
            .filter_map(|limit| {
                let needed = needed(limit.name.scope, input);
                let is_final = limit.limit.saturating_sub(limit.spent) < needed;
                (limit.left() < needed).then_some((is_final, limit.resets_at_ms, limit))
            })
            .max_by_key(|(is_final, resets_at, _)| (*is_final, *resets_at));
        match blocking {
            Some((true, _, limit)) => Err(ReserveError::Spent(limit.as_spent())),
            Some((false, _, limit)) => Err(ReserveError::Reserved(limit.as_spent())),
            None => {
                let output = slice(&limits, input, MAX_SLICE);
                let tokens = Tokens { input, output };
                for limit in &mut limits {
                    limit.reserved = limit.reserved.saturating_add(tokens.of(limit.name.scope));
                }
                Ok((tokens, limits))
            }
        }
    }

    /// Returns the next slice of a turn's output, of at most `largest` tokens.
    pub(super) fn extend(&self, budget: &Budget, now: u64, largest: u64) -> Grant {
        let limits = self.status(budget, now);
        match slice(&limits, 0, largest) {
            0 => {
                let spent = limits
                    .iter()
                    .filter(|limit| limit.name.scope != Scope::Input && limit.left() == 0)
                    .max_by_key(|limit| limit.resets_at_ms);
                spent.map_or(Grant::Unavailable, |limit| Grant::Spent(limit.as_spent()))
            }
            tokens => Grant::Tokens(tokens),
        }
    }

    /// Returns the room of an allocation beyond the open reservations.
    pub(super) fn allocation_room(&self, budget: &Budget, now: u64) -> Tokens {
        let limits = self.status(budget, now);
        let room = |scope| {
            let limits = limits.iter();
            let of_scope = limits.filter(|limit| [Scope::All, scope].contains(&limit.name.scope));
            let least_left = of_scope.map(LimitStatus::left).min();
            least_left.map_or(MAX_ROOM, |left| (left / ROOM_PART).min(MAX_ROOM))
        };
        Tokens {
            input: room(Scope::Input),
            output: room(Scope::Output),
        }
    }

    /// Returns the buckets of `now`. Days and months count for every key, so that a limit which is added later finds the
    /// tokens of its window.
    pub(super) fn buckets(&self, budget: &Budget, now: u64) -> Vec<(Period, u64)> {
        let mut periods = vec![Period::Day, Period::Month];
        let others = budget.limits().iter().map(|(name, _)| name.period);
        for period in others.chain(self.spent.keys().copied()) {
            if !periods.contains(&period) {
                periods.push(period);
            }
        }
        periods
            .into_iter()
            .map(|period| (period, Window::at(period, now).bucket))
            .collect()
    }

    /// Returns the buckets at `now` of the periods that have no bucket yet.
    pub(super) fn new_periods(&self, budget: &Budget, now: u64) -> Vec<(Period, u64)> {
        let mut buckets = self.buckets(budget, now);
        buckets.retain(|(period, _)| !self.spent.contains_key(period));
        buckets
    }

    pub(super) fn add(&mut self, period: Period, bucket: u64, tokens: Tokens) {
        let buckets = self.spent.entry(period).or_default();
        let sum = buckets.entry(bucket).or_default();
        *sum = sum.plus(tokens);
        while buckets.len() > kept_buckets(period) {
            buckets.pop_first();
        }
    }
}

/// Returns the size of a slice of output beside `input`.
fn slice(limits: &[LimitStatus], input: u64, largest: u64) -> u64 {
    let left = limits
        .iter()
        .filter_map(|limit| match limit.name.scope {
            Scope::All => Some(limit.left().saturating_sub(input)),
            Scope::Output => Some(limit.left()),
            Scope::Input => None,
        })
        .min();
    left.map_or(largest, |left| {
        (left / SLICE_PART).clamp(MIN_SLICE, largest).min(left)
    })
}

/// Returns the tokens that must be left for a turn to begin: its input, and a token of output.
fn needed(scope: Scope, input: u64) -> u64 {
    match scope {
        Scope::All => input.saturating_add(1),
        Scope::Input => input.max(1),
        Scope::Output => 1,
    }
}
