//! The usage log on disk, compared with the counters and with `/v1/usage`.
//! The contract's section 8: lines of JSON, the older part in `usage.ndjson.1`.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use super::samples::Samples;
use crate::chaos::Report;
use crate::chaos::chain::AGENTS_ID;
use crate::http::{get, with};
use crate::sidecar::Sidecar;

/// The usage records, oldest first.
#[derive(Debug)]
pub(super) struct UsageRecords(pub(super) Vec<Value>);

impl UsageRecords {
    /// Reads the current log.
    pub(super) fn read(sidecar: &Sidecar) -> Self {
        let home = sidecar.dir().join("codex-home");
        let parts = ["usage.ndjson.1", "usage.ndjson"];
        let texts = parts.map(|name| fs::read_to_string(home.join(name)).unwrap_or_default());
        let records = texts
            .iter()
            .flat_map(|text| text.lines())
            .map(|line| serde_json::from_str(line).unwrap_or(Value::Null))
            .collect();
        Self(records)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The records of clients by request id.
    pub(super) fn by_id(&self) -> BTreeMap<&str, Vec<&Value>> {
        let mut by_id: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for record in &self.0 {
            let id = record["request_id"].as_str().unwrap_or_default();
            if id != AGENTS_ID {
                by_id.entry(id).or_default().push(record);
            }
        }
        by_id
    }

    /// Checks that the counters grew between two moments by the sums of the records since `from`.
    pub(super) fn check_counters(
        &self,
        from: usize,
        before: &Samples,
        after: &Samples,
        report: &mut Report,
    ) {
        let records = &self.0[from..];
        let sum = |field: &str| {
            let numbers = records.iter().filter_map(|record| record[field].as_f64());
            numbers.sum::<f64>()
        };
        let with = |field: &str, name: &str| {
            let is = |record: &&Value| record[field].as_str() == Some(name);
            count(records.iter().filter(is))
        };
        let with_number =
            |field: &str| count(records.iter().filter(|record| record[field].is_u64()));
        for (name, expected) in [
            (
                "sidecar_turns_total{outcome=\"completed\"}",
                with("finish_reason", "stop"),
            ),
            (
                "sidecar_turns_total{outcome=\"tool_calls\"}",
                with("finish_reason", "tool_calls"),
            ),
            (
                "sidecar_turns_total{outcome=\"interrupted\"}",
                with("error", "client_left"),
            ),
            (
                "sidecar_tokens_total{kind=\"prompt\"}",
                sum("prompt_tokens"),
            ),
            (
                "sidecar_tokens_total{kind=\"cached\"}",
                sum("cached_tokens"),
            ),
            (
                "sidecar_tokens_total{kind=\"completion\"}",
                sum("completion_tokens"),
            ),
            (
                "sidecar_tokens_total{kind=\"reasoning\"}",
                sum("reasoning_tokens"),
            ),
        ] {
            check_equal(report, name, after.since(before, name), expected);
        }
        let first_tokens = after.sum_since(before, "sidecar_time_to_first_token_seconds_count");
        check_equal(
            report,
            "first tokens",
            first_tokens,
            with_number("time_to_first_token_ms"),
        );
    }

    /// Checks that `/v1/usage` reports the number of records and the sum of their tokens.
    pub(super) async fn check_usage(&self, sidecar: &Sidecar, report: &mut Report) {
        let mut client = sidecar.connect().await;
        let request = with(get("/v1/usage"), "x-codex-edge-admin", "true");
        let sums = client
            .send(request)
            .await
            .map(|response| response.json())
            .unwrap_or_default();
        let tokens = self
            .0
            .iter()
            .filter_map(|record| record["total_tokens"].as_f64());
        for (name, field, expected) in [
            ("requests in /v1/usage", "requests", count(self.0.iter())),
            ("tokens in /v1/usage", "total_tokens", tokens.sum()),
        ] {
            check_equal(
                report,
                name,
                sums[field].as_f64().unwrap_or_default(),
                expected,
            );
        }
    }
}

#[expect(clippy::float_cmp, reason = "both are whole numbers far below 2^53")]
fn check_equal(report: &mut Report, name: &'static str, counted: f64, expected: f64) {
    report.add_count(name, counted);
    if counted != expected {
        report.add_violation(format!("{name}: {counted}, but {expected} in the records"));
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn count<'a>(records: impl Iterator<Item = &'a Value>) -> f64 {
    records.count() as f64
}
