//! What clients asked and heard, held against what the sidecar wrote down and counted.
//! The contract's section 8: a record a turn, and counters by route and status.

use std::collections::BTreeMap;

use serde_json::Value;

use super::records::Records;
use super::samples::Samples;
use crate::chaos::Report;
use crate::chaos::answer::Dialect;

/// The filter's answer; the sidecar never hears of such a request.
const UNAUTHORIZED: u16 = 401;

/// A sidecar that did nothing for a request has Envoy send it again, so that more of these are counted than clients see.
const UNAVAILABLE: u16 = 503;

/// One request.
#[derive(Debug)]
pub(super) struct Asked {
    /// What it carries as `x-request-id`.
    pub(super) id: String,
    pub(super) dialect: Dialect,
    pub(super) fate: Fate,
}

/// What became of it, as its client saw it.
#[derive(Debug)]
pub(super) enum Fate {
    /// The client did not stay, so that it knows nothing.
    Left,
    /// It was answered; the code is that of an error, in a stream or instead of it.
    Ended { status: u16, code: Option<String> },
}

/// Requests in the order in which they were asked.
#[derive(Debug, Default)]
pub(super) struct Ledger(Vec<Asked>);

impl Ledger {
    /// All that stands in any of them.
    pub(super) fn joined(ledgers: impl IntoIterator<Item = Self>) -> Self {
        Self(ledgers.into_iter().flat_map(|ledger| ledger.0).collect())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn last(&self) -> Option<&Asked> {
        self.0.last()
    }

    pub(super) fn push(&mut self, asked: Asked) {
        self.0.push(asked);
    }

    /// Notes what the last request came to.
    pub(super) fn end(&mut self, status: u16, code: Option<&str>) {
        let code = code.map(str::to_owned);
        if let Some(asked) = self.0.last_mut() {
            asked.fate = Fate::Ended { status, code };
        }
    }

    /// Every turn that a client saw has one record, which tells of the same end; no record is of anybody else.
    pub(super) fn check_records(&self, records: &Records, report: &mut Report) {
        let mut by_id = records.by_id();
        report.add_count("requests asked", self.0.len());
        for asked in &self.0 {
            let found = by_id.remove(asked.id.as_str()).unwrap_or_default();
            if let Some(what) = asked.wrong_records(&found) {
                report.add_violation(format!("{what}: {asked:?} has {found:?}"));
            }
        }
        for strange in by_id.into_values().flatten() {
            report.add_violation(format!("a record of no request: {strange}"));
        }
    }

    /// What clients saw of each route and status was counted; what is counted beyond is of those who left.
    pub(super) fn check_counters(&self, before: &Samples, after: &Samples, report: &mut Report) {
        let mut left: BTreeMap<&str, f64> = BTreeMap::new();
        let mut seen: BTreeMap<(&str, u16), f64> = BTreeMap::new();
        for asked in &self.0 {
            let route = asked.dialect.path();
            match asked.fate {
                Fate::Left => *left.entry(route).or_default() += 1.0,
                Fate::Ended { status, .. } => *seen.entry((route, status)).or_default() += 1.0,
            }
        }
        seen.retain(|(_, status), _| *status != UNAUTHORIZED);
        report.add_count(
            "requests whose counters were compared",
            seen.values().sum::<f64>(),
        );
        for ((route, status), seen) in seen {
            let name = format!("sidecar_requests_total{{route=\"{route}\",status=\"{status}\"}}");
            let counted = after.since(before, &name);
            let left = left.get(route).copied().unwrap_or_default();
            let is_too_many = counted > seen + left && status != UNAVAILABLE;
            if counted < seen || is_too_many {
                report.add_violation(format!("{name}: {counted}, seen {seen}, left {left}"));
            }
        }
    }
}

impl Asked {
    fn wrong_records(&self, found: &[&Value]) -> Option<&'static str> {
        let Fate::Ended { status, code } = &self.fate else {
            return (found.len() > 1).then_some("more than one record");
        };
        let is_same = |record: &Value| {
            let error = record["error"].as_str().map(as_clients_see);
            error == code.as_deref() && record["status"] == *status
        };
        match found {
            [] if *status == 200 => Some("no record"),
            [] => None,
            [record] => (!is_same(record)).then_some("a record of another end"),
            [..] => Some("more than one record"),
        }
    }
}

/// What a client is told where its record has `error`: a sidecar that stops says to come again.
fn as_clients_see(error: &str) -> &str {
    if error == "interrupted" {
        "codex_unavailable"
    } else {
        error
    }
}

#[cfg(test)]
mod tests {
    use std::slice;

    use serde_json::json;

    use super::*;

    /// How many violations a request that ended so makes with these records.
    #[track_caller]
    fn check(status: u16, code: Option<&str>, records: &[Value], violations: usize) {
        let mut ledger = Ledger::default();
        ledger.push(Asked {
            id: "a1-0".to_owned(),
            dialect: Dialect::Chat,
            fate: Fate::Left,
        });
        ledger.end(status, code);
        let mut report = Report::default();
        ledger.check_records(&Records(records.to_vec()), &mut report);
        assert_eq!(report.violations().len(), violations, "{report}");
    }

    #[test]
    fn a_turn_has_one_record_of_its_own_end() {
        let good = json!({"request_id": "a1-0", "status": 200, "token_source": "reported"});
        let failed = json!({"request_id": "a1-0", "status": 502, "error": "codex_failed"});
        let stopped = json!({"request_id": "a1-0", "status": 503, "error": "interrupted"});
        let again = json!({"request_id": "a1-0", "status": 503, "token_source": "none"});
        let foreign = json!({"request_id": "a2-0", "status": 200});
        check(200, None, slice::from_ref(&good), 0);
        check(200, None, &[again, good.clone()], 1);
        check(502, Some("codex_failed"), slice::from_ref(&failed), 0);
        check(503, Some("codex_unavailable"), slice::from_ref(&stopped), 0);
        check(503, Some("codex_starting"), &[stopped], 1);
        check(401, Some("invalid_api_key"), &[], 0);
        check(200, None, &[], 1);
        check(200, None, &[good.clone(), good.clone()], 1);
        check(200, None, &[failed], 1);
        check(200, None, &[good, foreign], 1);
    }
}
