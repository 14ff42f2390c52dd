//! What a sidecar's metrics say at one moment.
//! OpenMetrics text: a sample a line, its name with its labels, a space, its value.

use std::collections::BTreeMap;

use crate::http::get;
use crate::sidecar::Sidecar;

/// The value of every sample.
#[derive(Debug, Default)]
pub(super) struct Samples(BTreeMap<String, f64>);

impl Samples {
    /// Asks the sidecar's admin socket; empty when that does not answer.
    pub(super) async fn scrape(sidecar: &Sidecar) -> Self {
        let mut client = sidecar.connect_admin().await;
        let answer = client.send(get("/metrics")).await;
        answer.map_or_else(
            |_| Self::default(),
            |answer| Self::parse(&String::from_utf8_lossy(&answer.body)),
        )
    }

    fn parse(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let samples = samples.filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Self(samples.collect())
    }

    /// The value of a sample, if there is one.
    pub(super) fn value(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    /// By how much a sample has grown; one that is absent is 0.
    pub(super) fn since(&self, before: &Self, name: &str) -> f64 {
        self.value(name).unwrap_or_default() - before.value(name).unwrap_or_default()
    }

    /// By how much the samples of a name have grown together, whatever their labels.
    pub(super) fn sum_since(&self, before: &Self, name: &str) -> f64 {
        self.sum(name) - before.sum(name)
    }

    fn sum(&self, name: &str) -> f64 {
        let of_name = |sample: &str| sample.split('{').next() == Some(name);
        let samples = self.0.iter().filter(|(sample, _)| of_name(sample));
        samples.map(|(_, value)| value).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::Samples;

    #[test]
    #[expect(clippy::float_cmp, reason = "whole numbers")]
    fn samples_grow_by_name_and_by_label() {
        let before = Samples::parse("# TYPE a counter\na_total{k=\"1\"} 2\n");
        let after = Samples::parse("a_total{k=\"1\"} 5\na_total{k=\"2\"} 1\na_totals 7\n# EOF\n");
        assert_eq!(after.since(&before, "a_total{k=\"1\"}"), 3.0);
        assert_eq!(after.sum_since(&before, "a_total"), 4.0);
        assert_eq!(after.value("b"), None);
    }
}
