//! The usage log and questions about it: a query on the first line, and a file that anybody may have edited.
//! Who is no administrator sees nothing of anybody else's, whatever the query says.

use std::collections::VecDeque;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;
use sidecar::codex::RateLimits;
use sidecar::openai::usage::{self, UsageQuery, UsageReader};
use sidecar::telemetry::{UsageRecord, UsageTotals};

const CLIENT: &str = "alice";

pub(crate) fn check(input: &[u8]) {
    let mut lines = input.split(|byte| *byte == b'\n');
    let query = lines.next().unwrap_or_default();
    let records: VecDeque<UsageRecord> = lines
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    for admin in [false, true] {
        answer(query, &records, admin);
    }
}

fn answer(query: &[u8], records: &VecDeque<UsageRecord>, admin: bool) {
    let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let reader = UsageReader {
        client: CLIENT,
        admin,
    };
    let Ok(query) = UsageQuery::parse(form_urlencoded::parse(query), reader, now) else {
        return;
    };
    assert!(admin || query.filter.client.as_deref() == Some(CLIENT));
    assert!((1..=10_000).contains(&query.limit));
    let selected = records.iter().filter(|record| query.filter.matches(record));
    let selected: VecDeque<UsageRecord> = selected.cloned().collect();
    assert!(admin || selected.iter().all(|record| record.client == CLIENT));
    let mut sums = UsageTotals::default();
    for record in &selected {
        sums.add(record, query.group);
    }
    assert_eq!(sums.totals.requests, selected.len() as u64);
    let told = usage::totals_body(&query, &sums, &RateLimits::default());
    serde_json::from_slice::<Value>(&told).expect("sums are JSON");
    let told = usage::records_body(&selected);
    serde_json::from_slice::<Value>(&told).expect("records are JSON");
}
