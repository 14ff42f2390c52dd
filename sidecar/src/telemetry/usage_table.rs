//! The numbers of every record in the usage log, in memory, so that a sum reads no file.
//!
//! Rows rather than sums by hour or day: a query may begin and end at any millisecond, and a row takes a seventh of its
//! line. Two full files of 32 MiB, the default, are some 150,000 rows in 10 MiB.

use std::collections::HashMap;

use super::rotating_log::LineObserver;
use super::usage_record::UsageRecord;
use super::usage_totals::{Interval, UsageFilter, UsageRow, UsageTotals};

/// The rows of the current file and of the rotated one.
#[derive(Debug, Default)]
pub(super) struct UsageTable {
    rotated: FileRows,
    current: FileRows,
}

/// The rows of a file, in its order.
#[derive(Debug, Default)]
struct FileRows {
    /// Each row with the number of its client.
    rows: Vec<(usize, UsageRow)>,
    /// The numbers of the clients, within this file.
    clients: HashMap<Box<str>, usize>,
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
        self.current.rows.shrink_to_fit();
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
        self.rows.push((client, UsageRow::from(record)));
    }

    fn add_to(&self, totals: &mut UsageTotals, filter: &UsageFilter, interval: Option<Interval>) {
        let client = match &filter.client {
            None => None,
            Some(client) => match self.clients.get(client.as_str()) {
                Some(number) => Some(*number),
                None => return,
            },
        };
        for (number, row) in &self.rows {
            if filter.times.contains(&row.ts) && client.is_none_or(|client| client == *number) {
                totals.add(*row, interval);
            }
        }
    }
}
