//! Quantiles of what was measured, and medians over rounds.
//! The nearest-rank method: a quantile is a value that was seen.

use std::time::Duration;

/// The value below which the part `q` of `values` lies; 0 of none.
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
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}

/// The value in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value in the middle of each column; a row is a round.
pub(crate) fn medians<const N: usize>(rounds: &[[f64; N]]) -> [f64; N] {
    std::array::from_fn(|column| {
        let values: Vec<f64> = rounds.iter().map(|round| round[column]).collect();
        median(&values)
    })
}

/// Milliseconds.
pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Microseconds.
pub(crate) fn us(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// A count as a number to reckon with.
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
    fn a_quantile_is_a_value_that_was_seen() {
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
