//! How much of the Codex plan is used up, as the children reported it last.
//! Codex takes the windows from the fields `x-codex-primary-*` and `x-codex-secondary-*` of the model service's answers.

use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// One window of the plan.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateLimitWindow {
    /// Percent of it that is used.
    pub used_percent: f64,
    /// How long it is.
    pub length: Option<Duration>,
    /// When it begins anew.
    pub resets_at: Option<SystemTime>,
}

impl RateLimitWindow {
    /// A window as Codex describes it, whose length is told in minutes.
    pub(super) fn new(
        used_percent: f64,
        minutes: Option<u64>,
        resets_at: Option<SystemTime>,
    ) -> Self {
        let length = |minutes: u64| Duration::from_secs(minutes.saturating_mul(60));
        Self {
            used_percent,
            length: minutes.map(length),
            resets_at,
        }
    }

    /// Percent of it that is used now: a window whose end has passed is a new one, of which nothing is used yet.
    pub fn used_percent_now(&self) -> f64 {
        match self.resets_at.map(remaining) {
            Some(None) => 0.0,
            Some(Some(_)) | None => self.used_percent.clamp(0.0, 1000.0),
        }
    }
}

/// The windows that a plan has.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RateLimits {
    /// The short one.
    pub primary: Option<RateLimitWindow>,
    /// The long one.
    pub secondary: Option<RateLimitWindow>,
}

impl RateLimits {
    /// Time until no window is used up any more.
    pub(super) fn reopens_in(&self) -> Option<Duration> {
        let windows = [self.primary, self.secondary].into_iter().flatten();
        let used_up = windows.filter(|window| window.used_percent >= 100.0);
        let resets = used_up.filter_map(|window| remaining(window.resets_at?));
        resets.max()
    }

    /// Those that Codex has told something of, by name.
    pub fn windows(&self) -> impl Iterator<Item = (&'static str, RateLimitWindow)> {
        let named = [("primary", self.primary), ("secondary", self.secondary)];
        named
            .into_iter()
            .filter_map(|(name, window)| Some((name, window?)))
    }

    /// The windows as a list of RFC 9651, times in seconds: `primary;used=13;window=18000;reset=3540, secondary;…`.
    /// `None` when nothing is known.
    pub fn to_field(&self) -> Option<String> {
        let items: Vec<String> = self
            .windows()
            .map(|(name, window)| item(name, &window))
            .collect();
        (!items.is_empty()).then(|| items.join(", "))
    }
}

fn item(name: &str, window: &RateLimitWindow) -> String {
    let mut item = format!("{name};used={:.0}", window.used_percent_now());
    if let Some(length) = window.length {
        let _infallible = write!(item, ";window={}", length.as_secs());
    }
    if let Some(reset) = window.resets_at.and_then(remaining) {
        let _infallible = write!(item, ";reset={}", reset.as_secs());
    }
    item
}

fn remaining(until: SystemTime) -> Option<Duration> {
    until.duration_since(SystemTime::now()).ok()
}

/// Where all children write what they hear of the plan, and read what others heard.
#[derive(Debug, Clone, Default)]
pub(super) struct SharedRateLimits(Arc<Mutex<RateLimits>>);

impl SharedRateLimits {
    /// After a refusal a child reports windows without content: that is no news.
    pub(super) fn report(&self, plan: RateLimits) {
        if plan != RateLimits::default() {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = plan;
        }
    }

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
    fn a_field_tells_each_window_and_forgets_what_is_over() {
        let plan = RateLimits {
            primary: Some(window(13.4, 60)),
            secondary: Some(window(100.0, -1)),
        };
        let expected = "primary;used=13;window=18000;reset=60, secondary;used=0;window=18000";
        assert_eq!(plan.to_field().as_deref(), Some(expected));
        assert_eq!(RateLimits::default().to_field(), None);
    }

    #[test]
    fn a_plan_is_open_again_when_its_last_used_up_window_is() {
        let plan = |primary, secondary| RateLimits {
            primary: Some(primary),
            secondary: Some(secondary),
        };
        let seconds = |plan: RateLimits| plan.reopens_in().map(|wait| wait.as_secs());
        assert_eq!(
            seconds(plan(window(100.0, 60), window(100.0, 90))),
            Some(90)
        );
        assert_eq!(seconds(plan(window(100.0, 60), window(99.0, 90))), Some(60));
        assert_eq!(seconds(plan(window(100.0, -5), window(1.0, 90))), None);
    }

    #[test]
    fn windows_without_content_are_no_news() {
        let board = SharedRateLimits::default();
        let known = RateLimits {
            primary: Some(window(5.0, 60)),
            secondary: None,
        };
        board.clone().report(known);
        board.report(RateLimits::default());
        assert_eq!(board.read(), known);
    }
}
