//! The filter's counters, as Envoy stats.
//! Names follow Prometheus; a label is written `;name=value;`, as Envoy's `stats_tags` can take it out of a name.

use crate::rejection::Outcome;

/// Bytes of request bodies that were looked at.
pub const SCANNED_BYTES: &str = "codex_edge_scanned_bytes_total";
/// Buckets that exist in shared data: one a client, and the fixed table of strangers.
pub const RATE_LIMIT_BUCKETS: &str = "codex_edge_rate_limit_buckets";

/// The counter of requests that ended so.
pub fn requests(outcome: Outcome) -> String {
    format!("codex_edge_requests_total;verdict={};", outcome.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_can_be_taken_out() {
        assert_eq!(
            requests(Outcome::Forwarded),
            "codex_edge_requests_total;verdict=forwarded;"
        );
    }
}
