//! A sidecar's metrics at one moment.
//! OpenMetrics text: one sample a line, its name with its labels, a space, its value.

use std::collections::BTreeMap;

use crate::http::get;
use crate::sidecar::Sidecar;

/// The values of all samples.
#[derive(Debug, Default)]
pub(super) struct Samples(BTreeMap<String, f64>);

impl Samples {
    /// Reads the metrics from the admin socket; empty if the request fails.
    pub(super) async fn scrape(sidecar: &Sidecar) -> Self {
        let mut client = sidecar.connect_admin().await;
        let response = client.send(get("/metrics")).await;
        response.map_or_else(
            |_| Self::default(),
            |response| Self::parse(&String::from_utf8_lossy(&response.body)),
        )
    }

    fn parse(text: &str) -> Self {
        let samples = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| {
                let (name, value) = line.rsplit_once(' ')?;
                Some((name.to_owned(), value.parse().ok()?))
            })
            .collect();
        Self(samples)
    }

    /// The value of a sample; `None` if it is absent.
    pub(super) fn value(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    /// The growth of a sample; an absent one is 0.
    pub(super) fn since(&self, before: &Self, name: &str) -> f64 {
        self.value(name).unwrap_or_default() - before.value(name).unwrap_or_default()
    }

    /// The total growth of all samples of a name, with any labels.
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
    fn growth_is_computed_by_name_and_by_label() {
        let before = Samples::parse("# TYPE a counter\na_total{k=\"1\"} 2\n");
        let after = Samples::parse("a_total{k=\"1\"} 5\na_total{k=\"2\"} 1\na_totals 7\n# EOF\n");
        assert_eq!(after.since(&before, "a_total{k=\"1\"}"), 3.0);
        assert_eq!(after.sum_since(&before, "a_total"), 4.0);
        assert_eq!(after.value("b"), None);
    }
}
