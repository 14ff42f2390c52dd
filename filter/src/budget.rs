//! Token budgets: the text of a key's budget, which the upstream keeps, and the budgets that the upstream reported as spent.
//!
//! The upstream counts tokens. The filter sends it the budget with each request, and remembers until when a spent budget
//! rejects further ones, in the shared data of all workers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::rate_limit::{SharedData, SharedValue};

/// The response header of the upstream with the end of a spent budget, in milliseconds since the Unix epoch. It does not
/// reach the client.
pub const SPENT_HEADER: &str = "x-codex-edge-budget-spent";

/// The longest rolling window: 31 days.
const MAX_ROLLING_SECS: u64 = 31 * 24 * 3600;

/// The largest limit in tokens.
const MAX_TOKENS: u64 = 1 << 50;

/// The longest text in bytes; it travels in a header of each request.
const MAX_BYTES: usize = 256;

/// A valid budget, such as `day=200000,month.output=5000000,5h=100000,cached=0.1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget(String);

impl Budget {
    /// Checks a text: limits of `day`, `month` or a rolling window (`90m`, `5h`, `7d`), each alone or for `.input` or
    /// `.output`, in tokens; and the weights `cached` and `reasoning`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut entries = Vec::new();
        let mut items = Vec::new();
        for item in text.split(',') {
            let (name, value) = item.split_once('=')?;
            let (name, value) = (name.trim(), value.trim());
            let entry = Entry::parse(name, value)?;
            if entries.contains(&entry) {
                return None;
            }
            entries.push(entry);
            items.push(format!("{name}={value}"));
        }
        let has_limit = entries
            .iter()
            .any(|entry| matches!(entry, Entry::Limit { .. }));
        let text = items.join(",");
        (has_limit && text.len() <= MAX_BYTES).then_some(Self(text))
    }

    /// The text, without spaces.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of an item; a budget has each once.
#[derive(PartialEq)]
enum Entry<'a> {
    Weight(&'a str),
    Limit {
        period: Period,
        scope: Option<&'a str>,
    },
}

#[derive(PartialEq)]
enum Period {
    Day,
    Month,
    /// Seconds, so that `60m` is `1h`.
    Rolling(u64),
}

impl<'a> Entry<'a> {
    /// Parses an item, if its value is valid too.
    fn parse(name: &'a str, value: &str) -> Option<Self> {
        if matches!(name, "cached" | "reasoning") {
            return is_weight(value).then_some(Self::Weight(name));
        }
        number(value, MAX_TOKENS)?;
        let (period, scope) = match name.split_once('.') {
            None => (name, None),
            Some((period, scope @ ("input" | "output"))) => (period, Some(scope)),
            Some(_) => return None,
        };
        let period = match period {
            "day" => Period::Day,
            "month" => Period::Month,
            rolling => Period::Rolling(parse_duration(rolling)?),
        };
        Some(Self::Limit { period, scope })
    }
}

fn parse_duration(text: &str) -> Option<u64> {
    let mut chars = text.chars();
    let unit = match chars.next_back()? {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        _ => return None,
    };
    let seconds = number(chars.as_str(), MAX_ROLLING_SECS)?.checked_mul(unit)?;
    (1..=MAX_ROLLING_SECS).contains(&seconds).then_some(seconds)
}

fn is_weight(text: &str) -> bool {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    number(whole, 1000).is_some() && decimals.len() <= 3 && number(decimals, 999).is_some()
}

fn number(text: &str, max: u64) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| is_number)?;
    (number <= max).then_some(number)
}

/// The shared-data key of a client's spent budget.
fn spent_key(id: &str) -> String {
    format!("codex-edge.budget.{id}")
}

/// Remembers that the upstream rejects the client until the time in `header`. Another configuration, with another
/// `fingerprint`, forgets it: a raised budget opens at once.
pub fn store_spent(shared: &impl SharedData, id: &str, header: &[u8], fingerprint: u64) {
    let until_ms = std::str::from_utf8(header)
        .ok()
        .and_then(|text| number(text, u64::MAX));
    if let Some(until_ms) = until_ms {
        let value = [until_ms.to_le_bytes(), fingerprint.to_le_bytes()].concat();
        // Unconditional: of two workers that write at once, either value is the upstream's.
        let _ = shared.replace(&spent_key(id), &value, None);
    }
}

/// The time until the client's budget is open again, if it is spent. `now` is called only for a stored budget.
pub fn wait(
    shared: &impl SharedData,
    id: &str,
    fingerprint: u64,
    now: impl FnOnce() -> Option<SystemTime>,
) -> Option<Duration> {
    // A value that cannot be read rejects no request: the upstream checks the budget too.
    let SharedValue::Found(value, _) = shared.read(&spent_key(id)) else {
        return None;
    };
    let (until_ms, stored) = value.split_first_chunk::<8>()?;
    if u64::from_le_bytes(stored.try_into().ok()?) != fingerprint {
        return None;
    }
    let until = UNIX_EPOCH.checked_add(Duration::from_millis(u64::from_le_bytes(*until_ms)))?;
    let wait = until.duration_since(now()?).ok()?;
    (!wait.is_zero()).then_some(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budget_is_checked_and_written_without_spaces() {
        let text = |budget: &str| Budget::parse(budget).map(|budget| budget.as_str().to_owned());
        for (budget, expected) in [
            ("day=200000", Some("day=200000")),
            (
                " day = 1, month.output=2 ,90m.input=3,cached=0.1,reasoning=2",
                Some("day=1,month.output=2,90m.input=3,cached=0.1,reasoning=2"),
            ),
            ("31d=1", Some("31d=1")),
            ("", None),
            ("day", None),
            ("day=", None),
            ("day=-1", None),
            ("day=+1", None),
            ("day=1.5", None),
            ("day=1,day=2", None),
            ("1h=1,60m=2", None),
            ("week=1", None),
            ("day.cached=1", None),
            ("0h=1", None),
            ("32d=1", None),
            ("é=1", None),
            ("cached=0.5", None),
            ("day=1,cached=2000", None),
            ("day=1,cached=0.1234", None),
            ("day=1,cached=.5", None),
            ("day=9999999999999999999", None),
        ] {
            assert_eq!(text(budget).as_deref(), expected, "{budget:?}");
        }
    }
}
