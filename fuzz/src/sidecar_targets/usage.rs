//! The usage log and queries of it: a query on the first line, and a log file that an operator may have edited.
//! A client that is not an administrator sees only its own records, for any query.

use std::collections::VecDeque;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;
use sidecar::codex::RateLimits;
use sidecar::openai::usage::{self, UsageQuery, UsageReader};
use sidecar::telemetry::{UsageRecord, UsageRow, UsageTotals};

const CLIENT: &str = "alice";

pub(crate) fn check(input: &[u8]) {
    let mut lines = input.split(|byte| *byte == b'\n');
    let query = lines.next().unwrap_or_default();
    let records: VecDeque<UsageRecord> = lines
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    for admin in [false, true] {
        respond(query, &records, admin);
    }
}

fn respond(query: &[u8], records: &VecDeque<UsageRecord>, admin: bool) {
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
    let selected: VecDeque<UsageRecord> = records
        .iter()
        .filter(|record| query.filter.matches(record))
        .cloned()
        .collect();
    assert!(admin || selected.iter().all(|record| record.client == CLIENT));
    let mut sums = UsageTotals::default();
    for record in &selected {
        sums.add(UsageRow::from(record), query.group);
    }
    assert_eq!(sums.totals.requests, selected.len() as u64);
    let body = usage::totals_body(&query, &sums, &RateLimits::default(), &[]);
    serde_json::from_slice::<Value>(&body).expect("sums are JSON");
    let body = usage::records_body(&selected);
    serde_json::from_slice::<Value>(&body).expect("records are JSON");
}
