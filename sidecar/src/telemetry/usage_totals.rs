//! Totals of usage records, filtered by time and client, and grouped by hour or day.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Serialize;

use super::usage_record::UsageRecord;
use crate::store::UsageSums;

/// A selection of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageFilter {
    /// Arrival of the request, in milliseconds since the Unix epoch.
    pub times: Range<u64>,
    /// Client of the request; `None` selects all clients.
    pub client: Option<String>,
}

impl UsageFilter {
    /// Whether the record is selected.
    pub fn matches(&self, record: &UsageRecord) -> bool {
        let client = self.client.as_ref();
        self.times.contains(&record.ts) && client.is_none_or(|client| *client == record.client)
    }
}

/// The length of a bucket; buckets are aligned in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Interval {
    /// A full hour.
    Hour,
    /// A day from midnight to midnight.
    Day,
}

impl Interval {
    /// Returns the length in milliseconds.
    pub fn length_ms(self) -> u64 {
        match self {
            Self::Hour => 3_600_000,
            Self::Day => 86_400_000,
        }
    }

    /// Returns the start of the bucket of a time in milliseconds since the Unix epoch.
    pub(super) fn start(self, ts: u64) -> u64 {
        ts - ts % self.length_ms()
    }
}

/// The numbers of a record that are added up.
#[derive(Debug, Clone, Copy)]
pub struct UsageRow {
    /// Arrival of the request, in milliseconds since the Unix epoch.
    pub(super) ts: u64,
    is_failure: bool,
    prompt_tokens: u64,
    cached_tokens: u64,
    completion_tokens: u64,
    reasoning_tokens: u64,
    total_tokens: u64,
}

impl From<&UsageRecord> for UsageRow {
    fn from(record: &UsageRecord) -> Self {
        Self {
            ts: record.ts,
            is_failure: record.is_failure(),
            prompt_tokens: record.prompt_tokens,
            cached_tokens: record.cached_tokens,
            completion_tokens: record.completion_tokens,
            reasoning_tokens: record.reasoning_tokens,
            total_tokens: record.total_tokens,
        }
    }
}

impl From<UsageRow> for UsageSums {
    fn from(row: UsageRow) -> Self {
        Self {
            requests: 1,
            errors: u64::from(row.is_failure),
            prompt_tokens: row.prompt_tokens,
            cached_tokens: row.cached_tokens,
            completion_tokens: row.completion_tokens,
            reasoning_tokens: row.reasoning_tokens,
            total_tokens: row.total_tokens,
        }
    }
}

/// The totals of all selected records, and of each bucket.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct UsageTotals {
    /// Totals of all selected records.
    pub totals: UsageSums,
    /// Totals by start of the bucket, in milliseconds since the Unix epoch; empty buckets are absent.
    pub buckets: BTreeMap<u64, UsageSums>,
}

impl UsageTotals {
    /// Adds a record to the totals and, with an `interval`, to its bucket.
    pub fn add(&mut self, row: UsageRow, interval: Option<Interval>) {
        self.add_sums(&row.into(), row.ts, interval);
    }

    /// Adds the sums of records to the totals and, with an `interval`, to the bucket of `ts`, which is that of them all.
    pub fn add_sums(&mut self, sums: &UsageSums, ts: u64, interval: Option<Interval>) {
        self.totals.add(sums);
        if let Some(interval) = interval {
            let bucket = self.buckets.entry(interval.start(ts)).or_default();
            bucket.add(sums);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::TokenSource;

    fn record(ts: u64, client: &str, error: Option<&str>) -> UsageRecord {
        UsageRecord {
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
    fn records_are_grouped_by_utc_hour_and_day() {
        let hour = Interval::Hour.length_ms();
        let times = [hour - 1, hour, hour + 1, 24 * hour];
        for (interval, expected) in [
            (None, vec![]),
            (
                Some(Interval::Hour),
                vec![(0, 1), (hour, 2), (24 * hour, 1)],
            ),
            (Some(Interval::Day), vec![(0, 3), (24 * hour, 1)]),
        ] {
            let mut usage = UsageTotals::default();
            for ts in times {
                usage.add(UsageRow::from(&record(ts, "alice", None)), interval);
            }
            let requests = usage.buckets.iter().map(|(ts, sum)| (*ts, sum.requests));
            assert_eq!(requests.collect::<Vec<_>>(), expected, "{interval:?}");
            assert_eq!(
                (usage.totals.requests, usage.totals.total_tokens),
                (4, 60),
                "{interval:?}"
            );
        }
    }

    #[test]
    fn disconnects_and_cancellations_are_not_errors() {
        let mut usage = UsageTotals::default();
        for error in [
            None,
            Some("client_left"),
            Some("interrupted"),
            Some("codex_failed"),
        ] {
            usage.add(UsageRow::from(&record(1, "alice", error)), None);
        }
        assert_eq!((usage.totals.requests, usage.totals.errors), (4, 1));
    }

    #[test]
    fn filter_includes_the_start_and_excludes_the_end() {
        let filter = |client: Option<&str>| UsageFilter {
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
            let matches = filter(client).matches(&record(ts, "alice", None));
            assert_eq!(matches, expected, "{ts} {client:?}");
        }
    }

    #[test]
    fn record_is_one_line_of_json() {
        let line = serde_json::to_string(&record(1, "alice", Some("codex_failed"))).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(
            serde_json::from_str::<UsageRecord>(&line).unwrap(),
            record(1, "alice", Some("codex_failed"))
        );
        assert!(line.contains(r#""token_source":"reported""#), "{line}");
    }
}
