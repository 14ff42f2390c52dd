//! The clients' log of requests, compared with the sidecar's usage records and counters.
//! The contract's section 8: one record for each turn, and counters by route and status.

use std::collections::BTreeMap;

use serde_json::Value;

use super::records::UsageRecords;
use super::samples::Samples;
use crate::chaos::Report;
use crate::chaos::parsed_response::Endpoint;

/// Status of the filter's own response; such a request does not reach the sidecar.
const UNAUTHORIZED: u16 = 401;

/// Status on which Envoy retries a request that the sidecar has not processed, so that the sidecar counts more of them
/// than clients receive.
const UNAVAILABLE: u16 = 503;

/// A request and its outcome.
#[derive(Debug)]
pub(super) struct SentRequest {
    /// The `x-request-id`.
    pub(super) id: String,
    pub(super) endpoint: Endpoint,
    pub(super) outcome: ObservedOutcome,
}

/// The outcome that the client observed.
#[derive(Debug)]
pub(super) enum ObservedOutcome {
    /// The client disconnected, so that the outcome is unknown.
    Disconnected,
    /// A response; the code is that of an error response or of an error event in a stream.
    Responded { status: u16, code: Option<String> },
}

/// Requests in the order of their start.
#[derive(Debug, Default)]
pub(super) struct RequestLog(Vec<SentRequest>);

impl RequestLog {
    /// The requests of all logs.
    pub(super) fn joined(logs: impl IntoIterator<Item = Self>) -> Self {
        Self(logs.into_iter().flat_map(|log| log.0).collect())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn last(&self) -> Option<&SentRequest> {
        self.0.last()
    }

    pub(super) fn push(&mut self, request: SentRequest) {
        self.0.push(request);
    }

    /// Sets the outcome of the last request.
    pub(super) fn set_outcome(&mut self, status: u16, code: Option<&str>) {
        if let Some(request) = self.0.last_mut() {
            let code = code.map(str::to_owned);
            request.outcome = ObservedOutcome::Responded { status, code };
        }
    }

    /// Checks that each response to a client has one usage record with the same outcome, and that every record belongs to a
    /// request.
    pub(super) fn check_records(&self, records: &UsageRecords, report: &mut Report) {
        let mut by_id = records.by_id();
        report.add_count("requests sent", self.0.len());
        for request in &self.0 {
            let found = by_id.remove(request.id.as_str()).unwrap_or_default();
            if let Some(violation) = request.check_records(&found) {
                report.add_violation(format!("{violation}: {request:?} has {found:?}"));
            }
        }
        for record in by_id.into_values().flatten() {
            report.add_violation(format!("record without a request: {record}"));
        }
    }

    /// Checks that the counters include every response that clients received; the excess is at most the requests of clients
    /// that disconnected.
    pub(super) fn check_counters(&self, before: &Samples, after: &Samples, report: &mut Report) {
        let mut disconnected: BTreeMap<&str, f64> = BTreeMap::new();
        let mut received: BTreeMap<(&str, u16), f64> = BTreeMap::new();
        for request in &self.0 {
            let route = request.endpoint.path();
            match request.outcome {
                ObservedOutcome::Disconnected => *disconnected.entry(route).or_default() += 1.0,
                ObservedOutcome::Responded { status, .. } => {
                    *received.entry((route, status)).or_default() += 1.0;
                }
            }
        }
        received.retain(|(_, status), _| *status != UNAUTHORIZED);
        report.add_count(
            "requests whose counters were compared",
            received.values().sum::<f64>(),
        );
        for ((route, status), received) in received {
            let name = format!("sidecar_requests_total{{route=\"{route}\",status=\"{status}\"}}");
            let counted = after.since(before, &name);
            let disconnected = disconnected.get(route).copied().unwrap_or_default();
            let is_too_many = counted > received + disconnected && status != UNAVAILABLE;
            if counted < received || is_too_many {
                report.add_violation(format!(
                    "{name}: {counted}, {received} received, {disconnected} disconnected"
                ));
            }
        }
    }
}

impl SentRequest {
    fn check_records(&self, found: &[&Value]) -> Option<&'static str> {
        let ObservedOutcome::Responded { status, code } = &self.outcome else {
            return (found.len() > 1).then_some("more than one record");
        };
        let is_same = |record: &Value| {
            let error = record["error"].as_str().map(code_for_clients);
            error == code.as_deref() && record["status"] == *status
        };
        match found {
            [] if *status == 200 => Some("no record"),
            [] => None,
            [record] => (!is_same(record)).then_some("a record of another outcome"),
            [..] => Some("more than one record"),
        }
    }
}

/// The code that clients receive for the `error` of a record: an interrupted turn of a draining sidecar is retryable.
fn code_for_clients(error: &str) -> &str {
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

    /// Checks the number of violations that a response with these records causes.
    #[track_caller]
    fn check(status: u16, code: Option<&str>, records: &[Value], violations: usize) {
        let mut log = RequestLog::default();
        log.push(SentRequest {
            id: "a1-0".to_owned(),
            endpoint: Endpoint::Chat,
            outcome: ObservedOutcome::Disconnected,
        });
        log.set_outcome(status, code);
        let mut report = Report::default();
        log.check_records(&UsageRecords(records.to_vec()), &mut report);
        assert_eq!(report.violations().len(), violations, "{report}");
    }

    #[test]
    fn each_response_needs_one_record_of_the_same_outcome() {
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
