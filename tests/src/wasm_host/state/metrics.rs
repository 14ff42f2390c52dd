//! Metrics of the process: counters, gauges and histograms by name.
//! Follows the proxy-wasm ABI 0.2.1, section "Stats/metrics", and Envoy 1.40.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::wasm_host::abi::{MetricKind, Status};

/// The metrics of all VMs; they outlive each VM.
#[derive(Debug, Default)]
pub struct Metrics(Mutex<Vec<Metric>>);

#[derive(Debug)]
struct Metric {
    kind: MetricKind,
    name: String,
    value: u64,
    records: Vec<u64>,
}

impl Metrics {
    /// Returns the id of a metric, the same for the same kind and name.
    pub(in crate::wasm_host) fn define(&self, kind: MetricKind, name: &str) -> u32 {
        let mut metrics = self.metrics();
        let known = metrics
            .iter()
            .position(|m| m.kind == kind && m.name == name);
        let index = known.unwrap_or_else(|| {
            metrics.push(Metric {
                kind,
                name: name.to_owned(),
                value: 0,
                records: Vec::new(),
            });
            metrics.len() - 1
        });
        crate::wasm_host::abi::wire_len(index) << 2 | kind as u32
    }

    /// Increments a counter, or moves a gauge in either direction.
    pub(in crate::wasm_host) fn increment(&self, id: u32, offset: i64) -> Result<(), Status> {
        self.update(id, |metric| match metric.kind {
            MetricKind::Counter if offset <= 0 => Err(Status::BadArgument),
            MetricKind::Counter | MetricKind::Gauge => {
                metric.value = metric.value.saturating_add_signed(offset);
                Ok(())
            }
            MetricKind::Histogram => Err(Status::BadArgument),
        })
    }

    /// Adds to a counter, sets a gauge, or appends a value to a histogram.
    pub(in crate::wasm_host) fn record(&self, id: u32, value: u64) -> Result<(), Status> {
        self.update(id, |metric| {
            match metric.kind {
                MetricKind::Counter => metric.value += value,
                MetricKind::Gauge => metric.value = value,
                MetricKind::Histogram => metric.records.push(value),
            }
            Ok(())
        })
    }

    /// Returns the value of a counter or gauge.
    pub(in crate::wasm_host) fn get(&self, id: u32) -> Result<u64, Status> {
        self.update(id, |metric| match metric.kind {
            MetricKind::Counter | MetricKind::Gauge => Ok(metric.value),
            MetricKind::Histogram => Err(Status::BadArgument),
        })
    }

    /// Returns the value of a counter or gauge by name; `None` if it is not defined.
    pub fn value(&self, name: &str) -> Option<u64> {
        self.values().remove(name)
    }

    /// Returns every counter and gauge by name.
    pub fn values(&self) -> BTreeMap<String, u64> {
        let metrics = self.metrics();
        let values = metrics.iter().filter(|m| m.kind != MetricKind::Histogram);
        values.map(|m| (m.name.clone(), m.value)).collect()
    }

    /// Returns the values of a histogram in order; empty if it is not defined.
    pub fn records(&self, name: &str) -> Vec<u64> {
        let metrics = self.metrics();
        let histogram = metrics
            .iter()
            .find(|m| m.kind == MetricKind::Histogram && m.name == name);
        histogram.map(|m| m.records.clone()).unwrap_or_default()
    }

    fn update<T>(
        &self,
        id: u32,
        change: impl FnOnce(&mut Metric) -> Result<T, Status>,
    ) -> Result<T, Status> {
        let index = usize::try_from(id >> 2).map_err(|_| Status::NotFound)?;
        let mut metrics = self.metrics();
        let metric = metrics.get_mut(index).filter(|m| m.kind as u32 == id & 3);
        change(metric.ok_or(Status::NotFound)?)
    }

    fn metrics(&self) -> MutexGuard<'_, Vec<Metric>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_kind_and_name_have_the_same_id() {
        let metrics = Metrics::default();
        let id = metrics.define(MetricKind::Counter, "requests");
        assert_eq!(metrics.define(MetricKind::Counter, "requests"), id);
        assert_ne!(metrics.define(MetricKind::Counter, "rejections"), id);
        assert_ne!(metrics.define(MetricKind::Gauge, "requests"), id);
    }

    #[test]
    fn counter_gauge_and_histogram_accept_their_operations() {
        let metrics = Metrics::default();
        let counter = metrics.define(MetricKind::Counter, "counter");
        let gauge = metrics.define(MetricKind::Gauge, "gauge");
        let histogram = metrics.define(MetricKind::Histogram, "histogram");
        assert_eq!(metrics.increment(counter, -1), Err(Status::BadArgument));
        metrics.increment(counter, 2).unwrap();
        metrics.record(gauge, 5).unwrap();
        metrics.increment(gauge, -2).unwrap();
        metrics.record(histogram, 7).unwrap();
        assert_eq!((metrics.get(counter), metrics.get(gauge)), (Ok(2), Ok(3)));
        assert_eq!(metrics.records("histogram"), [7]);
        assert_eq!(metrics.get(99), Err(Status::NotFound));
    }
}
