//! UsageTotals of records: which of them count, and how they are grouped.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Serialize;

use super::Record;

/// Which records count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageFilter {
    /// When the request came, in milliseconds since the Unix epoch.
    pub times: Range<u64>,
    /// Whose it was; `None` for all.
    pub client: Option<String>,
}

impl UsageFilter {
    /// Whether the record is one of them.
    pub fn matches(&self, record: &Record) -> bool {
        let client = self.client.as_ref();
        self.times.contains(&record.ts) && client.is_none_or(|client| *client == record.client)
    }
}

/// Spans of time that are summed apart, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Interval {
    /// From full hour to full hour.
    Hour,
    /// From midnight to midnight.
    Day,
}

impl Interval {
    /// How long such a span is, in milliseconds.
    pub fn length_ms(self) -> u64 {
        match self {
            Self::Hour => 3_600_000,
            Self::Day => 86_400_000,
        }
    }
}

/// What some records come to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Turns that were asked for.
    pub requests: u64,
    /// Those of them that failed.
    pub errors: u64,
    /// Tokens of prompts, cached ones included.
    pub prompt_tokens: u64,
    /// Those of them that the provider had in its cache.
    pub cached_tokens: u64,
    /// Tokens of answers, reasoning included.
    pub completion_tokens: u64,
    /// Those of them that were reasoning.
    pub reasoning_tokens: u64,
    /// Prompts and answers together.
    pub total_tokens: u64,
}

impl Totals {
    fn add(&mut self, record: &Record) {
        self.requests += 1;
        self.errors += u64::from(record.is_failure());
        for (sum, tokens) in [
            (&mut self.prompt_tokens, record.prompt_tokens),
            (&mut self.cached_tokens, record.cached_tokens),
            (&mut self.completion_tokens, record.completion_tokens),
            (&mut self.reasoning_tokens, record.reasoning_tokens),
            (&mut self.total_tokens, record.total_tokens),
        ] {
            *sum = sum.saturating_add(tokens); // The log is a file that anybody may have edited.
        }
    }
}

/// All that count, and what each span of time has of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct UsageTotals {
    /// Of all.
    pub totals: Totals,
    /// By the beginning of the span, in milliseconds since the Unix epoch; spans without records are absent.
    pub buckets: BTreeMap<u64, Totals>,
}

impl UsageTotals {
    /// Adds a record, to the bucket of its span too when there is a `group`.
    pub fn add(&mut self, record: &Record, group: Option<Interval>) {
        self.totals.add(record);
        if let Some(length) = group.map(Interval::length_ms) {
            let bucket = record.ts - record.ts % length;
            self.buckets.entry(bucket).or_default().add(record);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::TokenSource;

    fn record(ts: u64, client: &str, error: Option<&str>) -> Record {
        Record {
            ts,
            request_id: "r".into(),
            client: client.into(),
            route: "/v1/chat/completions".into(),
            requested_model: "codex-5".into(),
            effective_model: "gpt-5".into(),
            stream: true,
            prompt_tokens: 10,
            cached_tokens: 4,
            completion_tokens: 5,
            reasoning_tokens: 2,
            total_tokens: 15,
            token_source: TokenSource::Reported,
            duration_ms: 7,
            time_to_first_token_ms: Some(3),
            status: 200,
            finish_reason: None,
            error: error.map(str::to_owned),
        }
    }

    #[test]
    fn records_are_summed_by_utc_hour_and_day() {
        let hour = Interval::Hour.length_ms();
        let times = [hour - 1, hour, hour + 1, 24 * hour];
        for (group, expected) in [
            (None, vec![]),
            (
                Some(Interval::Hour),
                vec![(0, 1), (hour, 2), (24 * hour, 1)],
            ),
            (Some(Interval::Day), vec![(0, 3), (24 * hour, 1)]),
        ] {
            let mut sums = UsageTotals::default();
            for ts in times {
                sums.add(&record(ts, "alice", None), group);
            }
            let requests = sums.buckets.iter().map(|(ts, sum)| (*ts, sum.requests));
            assert_eq!(requests.collect::<Vec<_>>(), expected, "{group:?}");
            assert_eq!(
                (sums.totals.requests, sums.totals.total_tokens),
                (4, 60),
                "{group:?}"
            );
        }
    }

    #[test]
    fn only_failures_are_errors() {
        let mut sums = UsageTotals::default();
        for error in [
            None,
            Some("client_left"),
            Some("interrupted"),
            Some("codex_failed"),
        ] {
            sums.add(&record(1, "alice", error), None);
        }
        assert_eq!((sums.totals.requests, sums.totals.errors), (4, 1));
    }

    #[test]
    fn a_selection_has_its_beginning_and_not_its_end() {
        let selection = |client: Option<&str>| UsageFilter {
            times: 5..7,
            client: client.map(str::to_owned),
        };
        for (ts, client, expected) in [
            (4, None, false),
            (5, None, true),
            (6, Some("alice"), true),
            (6, Some("bob"), false),
            (7, None, false),
        ] {
            let held = selection(client).matches(&record(ts, "alice", None));
            assert_eq!(held, expected, "{ts} {client:?}");
        }
    }

    #[test]
    fn a_record_is_one_line_of_named_numbers() {
        let line = serde_json::to_string(&record(1, "alice", Some("codex_failed"))).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(
            serde_json::from_str::<Record>(&line).unwrap(),
            record(1, "alice", Some("codex_failed"))
        );
        assert!(line.contains(r#""token_source":"reported""#), "{line}");
    }
}
