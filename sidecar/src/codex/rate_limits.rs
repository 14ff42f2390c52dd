//! The usage of the Codex plan's rate limit windows, as the children reported it last.
//! Codex reads the windows from the headers `x-codex-primary-*` and `x-codex-secondary-*` of the model service's
//! responses.

use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// A rate limit window of the plan.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateLimitWindow {
    /// Used share of the window, in percent.
    pub used_percent: f64,
    /// Length of the window.
    pub length: Option<Duration>,
    /// Time at which the next window begins.
    pub resets_at: Option<SystemTime>,
}

impl RateLimitWindow {
    /// Returns the used share at this moment, in percent; 0 once the window has ended.
    pub fn used_percent_now(&self) -> f64 {
        match self.resets_at.map(remaining) {
            Some(None) => 0.0,
            // Bounded, since clients and metrics see the number that the provider sends.
            Some(Some(_)) | None => self.used_percent.clamp(0.0, 1000.0),
        }
    }
}

/// The rate limit windows of the plan.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RateLimits {
    /// The short window.
    pub primary: Option<RateLimitWindow>,
    /// The long window.
    pub secondary: Option<RateLimitWindow>,
}

impl RateLimits {
    /// Returns the time until no window is exhausted; `None` when no window is, or its reset time is unknown.
    pub(super) fn resets_in(&self) -> Option<Duration> {
        [self.primary, self.secondary]
            .into_iter()
            .flatten()
            .filter(|window| window.used_percent >= 100.0)
            .filter_map(|window| remaining(window.resets_at?))
            // The later one: a turn needs room in both windows.
            .max()
    }

    /// Returns the known windows with their names.
    pub fn windows(&self) -> impl Iterator<Item = (&'static str, RateLimitWindow)> {
        [("primary", self.primary), ("secondary", self.secondary)]
            .into_iter()
            .filter_map(|(name, window)| Some((name, window?)))
    }

    /// Returns the windows as a list of RFC 9651, times in seconds: `primary;used=13;window=18000;reset=3540,
    /// secondary;…`. `None` when no window is known.
    pub fn to_header_value(&self) -> Option<String> {
        let items: Vec<String> = self
            .windows()
            .map(|(name, window)| list_item(name, &window))
            .collect();
        (!items.is_empty()).then(|| items.join(", "))
    }
}

fn list_item(name: &str, window: &RateLimitWindow) -> String {
    let mut item = format!("{name};used={:.0}", window.used_percent_now());
    if let Some(length) = window.length {
        let _ = write!(item, ";window={}", length.as_secs()); // Writing to a string cannot fail.
    }
    if let Some(reset) = window.resets_at.and_then(remaining) {
        let _ = write!(item, ";reset={}", reset.as_secs()); // Writing to a string cannot fail.
    }
    item
}

fn remaining(until: SystemTime) -> Option<Duration> {
    until.duration_since(SystemTime::now()).ok()
}

/// The rate limits that all children report to and read from. Clones share one value.
#[derive(Debug, Clone, Default)]
pub(super) struct SharedRateLimits(Arc<Mutex<RateLimits>>);

impl SharedRateLimits {
    /// Replaces the rate limits with those that a child reported.
    pub(super) fn report(&self, limits: RateLimits) {
        // After a failed turn a child reports empty windows, which must not replace known ones.
        if limits != RateLimits::default() {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = limits;
        }
    }

    /// Returns the rate limits reported last.
    pub(super) fn read(&self) -> RateLimits {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(used_percent: f64, resets_in: i64) -> RateLimitWindow {
        let distance = Duration::from_secs(resets_in.unsigned_abs());
        let resets_at = if resets_in < 0 {
            SystemTime::now() - distance
        } else {
            SystemTime::now() + distance + Duration::from_millis(500)
        };
        RateLimitWindow {
            used_percent,
            length: Some(Duration::from_secs(18_000)),
            resets_at: Some(resets_at),
        }
    }

    #[test]
    fn header_value_lists_each_window_and_resets_ended_ones() {
        let limits = RateLimits {
            primary: Some(window(13.4, 60)),
            secondary: Some(window(100.0, -1)),
        };
        let expected = "primary;used=13;window=18000;reset=60, secondary;used=0;window=18000";
        assert_eq!(limits.to_header_value().as_deref(), Some(expected));
        assert_eq!(RateLimits::default().to_header_value(), None);
    }

    #[test]
    fn exhausted_plan_resets_with_its_last_exhausted_window() {
        let plan = |primary, secondary| RateLimits {
            primary: Some(primary),
            secondary: Some(secondary),
        };
        let seconds = |plan: RateLimits| plan.resets_in().map(|wait| wait.as_secs());
        assert_eq!(
            seconds(plan(window(100.0, 60), window(100.0, 90))),
            Some(90)
        );
        assert_eq!(seconds(plan(window(100.0, 60), window(99.0, 90))), Some(60));
        assert_eq!(seconds(plan(window(100.0, -5), window(1.0, 90))), None);
    }

    #[test]
    fn empty_windows_do_not_replace_known_ones() {
        let shared = SharedRateLimits::default();
        let known = RateLimits {
            primary: Some(window(5.0, 60)),
            secondary: None,
        };
        shared.clone().report(known);
        shared.report(RateLimits::default());
        assert_eq!(shared.read(), known);
    }
}
