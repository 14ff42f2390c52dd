//! The budget of a key as text: `day=200000, month.output=5000000, 5h=100000, cached=0.1`.
//! The filter reads the same text from its configuration and sends it with each request; a test compares both parsers.

use std::str::FromStr;

use crate::turn::{LimitName, Period, Scope, Usage};

/// The longest rolling window: 31 days.
const MAX_ROLLING_SECS: u64 = 31 * 24 * 3600;

/// The largest limit in tokens, which leaves room for sums of many.
const MAX_TOKENS: u64 = 1 << 50;

/// A weight of 1.
const WHOLE: u64 = 1000;

/// The limits of a key, and the weights of its tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    limits: Vec<(LimitName, u64)>,
    /// Thousandths of a token that a cached token of the input counts.
    cached: u64,
    /// Thousandths of a token that a token of reasoning counts.
    reasoning: u64,
}

/// Tokens of input and output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Tokens of the input.
    pub input: u64,
    /// Tokens of the output.
    pub output: u64,
}

impl Tokens {
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            output: self.output.saturating_add(other.output),
        }
    }

    pub(super) fn minus(self, other: Self) -> Self {
        Self {
            input: self.input.saturating_sub(other.input),
            output: self.output.saturating_sub(other.output),
        }
    }

    /// Whether neither is more than in `other`.
    pub(super) fn fit_into(self, other: Self) -> bool {
        self.input <= other.input && self.output <= other.output
    }

    /// Returns the smaller number of each.
    pub(super) fn least(self, other: Self) -> Self {
        Self {
            input: self.input.min(other.input),
            output: self.output.min(other.output),
        }
    }

    pub(super) fn half(self) -> Self {
        Self {
            input: self.input / 2,
            output: self.output / 2,
        }
    }

    pub(super) fn of(self, scope: Scope) -> u64 {
        match scope {
            Scope::All => self.input.saturating_add(self.output),
            Scope::Input => self.input,
            Scope::Output => self.output,
        }
    }
}

/// A text that is not a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected limits such as day=200000, month.output=5000000 or 5h=100000, and weights such as cached=0.1"
)]
pub struct BudgetError;

impl Budget {
    /// Returns the limits with their tokens.
    pub(super) fn limits(&self) -> &[(LimitName, u64)] {
        &self.limits
    }

    /// Returns a budget without limits, for tokens of a key without a known budget.
    pub(super) fn unlimited() -> Self {
        Self {
            limits: Vec::new(),
            cached: WHOLE,
            reasoning: WHOLE,
        }
    }

    /// Returns the weight of a token of reasoning.
    #[expect(clippy::cast_precision_loss, reason = "a weight is small")]
    pub fn reasoning_weight(&self) -> f64 {
        self.reasoning as f64 / WHOLE as f64
    }

    /// Returns the tokens that a usage counts, rounded up.
    pub fn weigh(&self, usage: &Usage) -> Tokens {
        let weighted = |all: u64, part: u64, weight: u64| {
            let part = part.min(all);
            let thousandths = (all - part)
                .saturating_mul(WHOLE)
                .saturating_add(part.saturating_mul(weight));
            thousandths.div_ceil(WHOLE)
        };
        Tokens {
            input: weighted(usage.input_tokens, usage.cached_input_tokens, self.cached),
            output: weighted(usage.output_tokens, usage.reasoning_tokens, self.reasoning),
        }
    }
}

impl FromStr for Budget {
    type Err = BudgetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut budget = Self::unlimited();
        for item in text.split(',') {
            let (name, value) = item.split_once('=').ok_or(BudgetError)?;
            let (name, value) = (name.trim(), value.trim());
            match name {
                "cached" => budget.cached = parse_weight(value).ok_or(BudgetError)?,
                "reasoning" => budget.reasoning = parse_weight(value).ok_or(BudgetError)?,
                _ => {
                    let name = parse_name(name).ok_or(BudgetError)?;
                    let tokens = parse_number(value, MAX_TOKENS).ok_or(BudgetError)?;
                    if budget.limits.iter().any(|(other, _)| *other == name) {
                        return Err(BudgetError);
                    }
                    budget.limits.push((name, tokens));
                }
            }
        }
        match budget.limits.is_empty() {
            true => Err(BudgetError),
            false => Ok(budget),
        }
    }
}

fn parse_name(text: &str) -> Option<LimitName> {
    let (period, scope) = match text.split_once('.') {
        None => (text, Scope::All),
        Some((period, "input")) => (period, Scope::Input),
        Some((period, "output")) => (period, Scope::Output),
        Some(_) => return None,
    };
    let period = match period {
        "day" => Period::Day,
        "month" => Period::Month,
        rolling => Period::Rolling(parse_duration(rolling)?),
    };
    Some(LimitName { period, scope })
}

fn parse_duration(text: &str) -> Option<u32> {
    let unit = match text.as_bytes().last()? {
        b's' => 1,
        b'm' => 60,
        b'h' => 3600,
        b'd' => 24 * 3600,
        _ => return None,
    };
    let count = parse_number(text.get(..text.len() - 1)?, MAX_ROLLING_SECS)?;
    let seconds = count.checked_mul(unit)?;
    u32::try_from(seconds)
        .ok()
        .filter(|_| (1..=MAX_ROLLING_SECS).contains(&seconds))
}

fn parse_number(text: &str, max: u64) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| is_number)?;
    (number <= max).then_some(number)
}

/// Reads a weight from 0 to 1000 with at most three decimals.
fn parse_weight(text: &str) -> Option<u64> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let thousandths = match decimals.len() {
        1..=3 => parse_number(&format!("{decimals:0<3}"), 999)?,
        _ => return None,
    };
    Some(parse_number(whole, 1000)? * WHOLE + thousandths)
}
