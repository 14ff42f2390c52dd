//! The numbers of every record in the usage log, in memory, so that a sum reads no file.
//!
//! Rows rather than sums by hour or day: a query may begin and end at any millisecond, and a row takes a seventh of its
//! line. Two full files of 32 MiB, the default, are some 150,000 rows in 10 MiB. A query holds the lock that the other
//! queries and the writer wait for, so that it adds up the sums of whole chunks, and the rows of the other chunks only.

use std::collections::{BTreeMap, HashMap};

use super::rotating_log::LineObserver;
use super::usage_record::UsageRecord;
use super::usage_totals::{Interval, UsageFilter, UsageRow, UsageTotals};
use crate::store::UsageSums;

/// Rows of a chunk: as many as a query adds up in microseconds.
const CHUNK_ROWS: usize = 1024;

/// The rows of the current file and of the rotated one.
#[derive(Debug, Default)]
pub(super) struct UsageTable {
    rotated: FileRows,
    current: FileRows,
}

/// The rows of a file, in its order.
#[derive(Debug, Default)]
struct FileRows {
    /// Full chunks, and one that may be partial.
    chunks: Vec<Chunk>,
    /// The numbers of the clients, within this file.
    clients: HashMap<Box<str>, usize>,
}

/// Rows that follow each other in the file, and their sums.
#[derive(Debug)]
struct Chunk {
    /// Each row with the number of its client.
    rows: Vec<(usize, UsageRow)>,
    /// The first and the last arrival. Rows are in the order of their ends, not of their arrivals.
    first: u64,
    last: u64,
    /// The sums by the number of the client.
    sums: BTreeMap<usize, UsageSums>,
}

impl UsageTable {
    /// Returns the totals of the selected records.
    pub(super) fn totals(&self, filter: &UsageFilter, interval: Option<Interval>) -> UsageTotals {
        let mut totals = UsageTotals::default();
        for file in [&self.rotated, &self.current] {
            file.add_to(&mut totals, filter, interval);
        }
        totals
    }
}

impl LineObserver for UsageTable {
    fn on_line(&mut self, line: &[u8]) {
        if let Ok(record) = serde_json::from_slice(line) {
            self.current.push(&record);
        }
    }

    fn on_rotation(&mut self) {
        self.rotated = std::mem::take(&mut self.current);
    }
}

impl FileRows {
    fn push(&mut self, record: &UsageRecord) {
        let client = match self.clients.get(record.client.as_str()) {
            Some(number) => *number,
            None => {
                let number = self.clients.len();
                self.clients.insert(record.client.as_str().into(), number);
                number
            }
        };
        let row = UsageRow::from(record);
        match self.chunks.last_mut() {
            Some(chunk) if chunk.rows.len() < CHUNK_ROWS => chunk.push(client, row),
            Some(_) | None => self.chunks.push(Chunk::new(client, row)),
        }
    }

    fn add_to(&self, totals: &mut UsageTotals, filter: &UsageFilter, interval: Option<Interval>) {
        let client = match &filter.client {
            None => None,
            Some(client) => match self.clients.get(client.as_str()) {
                Some(number) => Some(*number),
                None => return,
            },
        };
        for chunk in &self.chunks {
            chunk.add_to(totals, filter, client, interval);
        }
    }
}

impl Chunk {
    fn new(client: usize, row: UsageRow) -> Self {
        let mut chunk = Self {
            rows: Vec::with_capacity(CHUNK_ROWS),
            first: row.ts,
            last: row.ts,
            sums: BTreeMap::new(),
        };
        chunk.push(client, row);
        chunk
    }

    fn push(&mut self, client: usize, row: UsageRow) {
        self.first = self.first.min(row.ts);
        self.last = self.last.max(row.ts);
        self.sums.entry(client).or_default().add(&row.into());
        self.rows.push((client, row));
    }

    fn add_to(
        &self,
        totals: &mut UsageTotals,
        filter: &UsageFilter,
        client: Option<usize>,
        interval: Option<Interval>,
    ) {
        let is_selected = |number: usize| client.is_none_or(|client| client == number);
        let is_within = |ts| filter.times.contains(ts);
        if self.last < filter.times.start || self.first >= filter.times.end {
            return;
        }
        let is_one_bucket =
            interval.is_none_or(|length| length.start(self.first) == length.start(self.last));
        if is_one_bucket && is_within(&self.first) && is_within(&self.last) {
            for (number, sums) in &self.sums {
                if is_selected(*number) {
                    totals.add_sums(sums, self.first, interval);
                }
            }
            return;
        }
        for (number, row) in &self.rows {
            if is_within(&row.ts) && is_selected(*number) {
                totals.add(*row, interval);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::telemetry::TokenSource;

    fn record(ts: u64, client: u8) -> UsageRecord {
        UsageRecord {
            ts,
            request_id: "r".into(),
            client: client.to_string(),
            route: "/v1/chat/completions".into(),
            requested_model: "codex-5".into(),
            effective_model: "gpt-5".into(),
            stream: true,
            prompt_tokens: ts,
            cached_tokens: 4,
            completion_tokens: 5,
            reasoning_tokens: 2,
            total_tokens: ts + 5,
            token_source: TokenSource::Reported,
            duration_ms: 7,
            time_to_first_token_ms: None,
            status: 200,
            finish_reason: None,
            error: ts.is_multiple_of(3).then(|| "codex_failed".to_owned()),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn sums_of_chunks_are_those_of_their_rows(
            steps in prop::collection::vec((0_u64..9000, 0_u64..5000, 0_u8..3), 2 * CHUNK_ROWS..4 * CHUNK_ROWS),
            from in 0_u64..20_000_000,
            length in 0_u64..40_000_000,
        ) {
            let (mut table, mut records, mut now) = (UsageTable::default(), Vec::new(), 0);
            for (step, age, client) in steps {
                now += step;
                // Not in the order of their arrivals.
                let record = record(now.saturating_sub(age), client);
                table.on_line(&serde_json::to_vec(&record).unwrap());
                records.push(record);
            }
            for client in [None, Some("1"), Some("9")] {
                for times in [0..u64::MAX, from..from + length] {
                    for interval in [None, Some(Interval::Hour), Some(Interval::Day)] {
                        let filter = UsageFilter { times: times.clone(), client: client.map(str::to_owned) };
                        let mut expected = UsageTotals::default();
                        for record in records.iter().filter(|record| filter.matches(record)) {
                            expected.add(UsageRow::from(record), interval);
                        }
                        prop_assert_eq!(table.totals(&filter, interval), expected);
                    }
                }
            }
        }
    }
}
