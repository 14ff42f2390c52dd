//! The result of a rule.

use super::source::Place;

/// The result of one rule for one crate.
#[derive(Debug)]
pub(super) struct Figure {
    pub(super) value: f64,
    /// The places to change for a better value.
    pub(super) places: Vec<Place>,
}

impl Figure {
    /// A figure that counts its places.
    pub(super) fn count(places: Vec<Place>) -> Self {
        Self::share(places, 1, 1)
    }

    /// The number of places for each `per` of `whole`; 100 makes a percentage.
    pub(super) fn share(places: Vec<Place>, whole: usize, per: usize) -> Self {
        Self {
            // A crate without docs or functions has no places either.
            value: (places.len() * per) as f64 / whole.max(1) as f64,
            places,
        }
    }
}
