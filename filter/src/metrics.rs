//! The names of the filter's metrics, which are Envoy stats.
//! Names follow Prometheus; a label is written `;name=value;`, so that Envoy's `stats_tags` can extract it.

use crate::reply::RejectReason;

/// Counter: bytes of request bodies that were scanned for their model.
pub const SCANNED_BYTES: &str = "codex_edge_scanned_bytes_total";
/// Gauge: buckets in shared data, one for each client and a fixed number for unauthenticated addresses.
pub const RATE_LIMIT_BUCKETS: &str = "codex_edge_rate_limit_buckets";

/// The result of a request in the filter: the label `verdict` of `codex_edge_requests_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestOutcome {
    /// Forwarded to the upstream.
    Forwarded,
    /// `OPTIONS`, answered by the filter.
    Options,
    /// `/verify`, answered with 200.
    Verified,
    /// Rejected.
    Rejected(RejectReason),
}

impl RequestOutcome {
    /// Every outcome, in the order of [`Self::index`].
    pub fn all() -> impl Iterator<Item = Self> {
        let rejected = RejectReason::ALL.into_iter().map(Self::Rejected);
        [Self::Forwarded, Self::Options, Self::Verified]
            .into_iter()
            .chain(rejected)
    }

    /// The position in [`Self::all`].
    pub fn index(self) -> usize {
        match self {
            Self::Forwarded => 0,
            Self::Options => 1,
            Self::Verified => 2,
            Self::Rejected(reason) => 3 + reason as usize,
        }
    }

    /// The value of the label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::Options => "options",
            Self::Verified => "verified",
            Self::Rejected(reason) => reason.name(),
        }
    }
}

/// The name of the counter of requests with this outcome.
pub fn requests(outcome: RequestOutcome) -> String {
    format!("codex_edge_requests_total;verdict={};", outcome.name())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn outcomes_have_distinct_names_and_their_own_index() {
        let names: HashSet<_> = RequestOutcome::all().map(RequestOutcome::name).collect();
        assert_eq!(names.len(), RequestOutcome::all().count());
        for (index, outcome) in RequestOutcome::all().enumerate() {
            assert_eq!(outcome.index(), index, "{outcome:?}");
        }
    }

    #[test]
    fn counter_name_carries_its_label_between_semicolons() {
        assert_eq!(
            requests(RequestOutcome::Forwarded),
            "codex_edge_requests_total;verdict=forwarded;"
        );
    }
}
