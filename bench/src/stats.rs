//! Quantiles of samples, and medians over rounds.
//!
//! Quantiles use the nearest-rank method, so that each is one of the samples. The crate `statrs` interpolates between
//! samples, which invents a latency between a fast and a slow path.

use std::time::Duration;

/// Returns the `q` quantile of `values`, or 0 for an empty slice.
pub(crate) fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rank between 0 and the length of a list in memory"
    )]
    let rank = (q * sorted.len() as f64).ceil() as usize;
    sorted
        // Ranks start at 1; the rank of the quantile 0 is 0.
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}

/// Returns the median of `values`.
pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// Returns the median of each column; a row is a round.
pub(crate) fn medians<const N: usize>(rounds: &[[f64; N]]) -> [f64; N] {
    std::array::from_fn(|column| {
        let values: Vec<f64> = rounds.iter().map(|round| round[column]).collect();
        median(&values)
    })
}

/// Converts `time` to milliseconds.
pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Converts `time` to microseconds.
pub(crate) fn us(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Converts a count for arithmetic with measured values.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of requests are far below 2^52"
)]
pub(crate) fn count(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_and_medians_are_values_of_the_sample() {
        let values = [5.0, 1.0, 4.0, 2.0, 3.0];
        for (q, expected) in [(0.0, 1.0), (0.2, 1.0), (0.5, 3.0), (0.99, 5.0), (1.0, 5.0)] {
            assert!((quantile(&values, q) - expected).abs() < 1e-9, "{q}");
        }
        assert!(quantile(&[], 0.5).abs() < 1e-9);
        assert!((median(&[1.0, 2.0]) - 1.0).abs() < 1e-9);
        let [first, second] = medians(&[[1.0, 6.0], [3.0, 4.0], [2.0, 5.0]]);
        assert!((first - 2.0).abs() < 1e-9 && (second - 5.0).abs() < 1e-9);
    }
}
