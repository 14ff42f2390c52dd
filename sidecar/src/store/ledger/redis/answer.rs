//! The answers of the script.

use redis::{FromRedisValue, ParsingError, Value};

use crate::store::ledger::account::{LimitStatus, ReserveError};
use crate::store::ledger::budget::Budget;
use crate::turn::{Grant, SpentLimit};

/// The answer to a reservation or to a turn that asks for more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// Tokens of output, and for a new reservation the numbers of [`statuses`].
    Tokens(u64, Vec<u64>),
    /// A limit, by its place in the budget from 1, and its reset: its tokens are spent.
    Spent(usize, u64),
    /// As `Spent`, for tokens that are promised to other turns.
    Reserved(usize, u64),
    /// The reservation is settled.
    Gone,
}

impl FromRedisValue for Answer {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let Value::Array(mut fields) = value else {
            return Err("the ledger's answer is not an array".into());
        };
        let rest = fields.split_off(fields.len().min(1));
        let numbers: Vec<u64> = rest
            .into_iter()
            .map(FromRedisValue::from_redis_value)
            .collect::<Result<_, _>>()?;
        let kind: Vec<String> = FromRedisValue::from_redis_value(Value::Array(fields))?;
        let place = |index: u64| usize::try_from(index).unwrap_or(0);
        match (kind.first().map(String::as_str), numbers.as_slice()) {
            (Some("tokens"), [tokens, states @ ..]) => Ok(Self::Tokens(*tokens, states.to_vec())),
            (Some("spent"), [index, resets]) => Ok(Self::Spent(place(*index), *resets)),
            (Some("reserved"), [index, resets]) => Ok(Self::Reserved(place(*index), *resets)),
            (Some("gone"), []) => Ok(Self::Gone),
            _ => Err("unknown answer of the ledger".into()),
        }
    }
}

impl Answer {
    /// Returns the first slice of a reservation, and the limits with it.
    pub(super) fn reserved(self, budget: &Budget) -> Result<(u64, Vec<LimitStatus>), ReserveError> {
        let limit = |index, resets| spent_limit(budget, index, resets);
        match self {
            Self::Tokens(tokens, numbers) => Ok((tokens, statuses(budget, &numbers))),
            Self::Spent(index, resets) => {
                Err(limit(index, resets).map_or(ReserveError::Unavailable, ReserveError::Spent))
            }
            Self::Reserved(index, resets) => {
                Err(limit(index, resets).map_or(ReserveError::Unavailable, ReserveError::Reserved))
            }
            Self::Gone => Err(ReserveError::Unavailable),
        }
    }

    /// Returns the next slice of a turn.
    pub(super) fn granted(self, budget: &Budget) -> Grant {
        match self {
            Self::Tokens(tokens, _) => Grant::Tokens(tokens),
            Self::Spent(index, resets) => {
                spent_limit(budget, index, resets).map_or(Grant::Unavailable, Grant::Spent)
            }
            Self::Reserved(..) | Self::Gone => Grant::Unavailable,
        }
    }
}

fn spent_limit(budget: &Budget, index: usize, resets_at_ms: u64) -> Option<SpentLimit> {
    let (name, _) = budget.limits().get(index.checked_sub(1)?)?;
    Some(SpentLimit {
        name: *name,
        resets_at_ms,
    })
}

/// Returns the state of each limit from the numbers of the script: spent, reserved and reset of each.
pub(super) fn statuses(budget: &Budget, numbers: &[u64]) -> Vec<LimitStatus> {
    let limits = budget.limits().iter().zip(numbers.chunks_exact(3));
    limits
        .map(|(&(name, limit), numbers)| LimitStatus {
            name,
            limit,
            spent: numbers[0],
            reserved: numbers[1],
            resets_at_ms: numbers[2],
        })
        .collect()
}
