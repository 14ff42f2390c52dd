//! A timer for a deadline that is postponed often and rarely reached.
//!
//! A timer of tokio is an entry in a wheel behind a lock, so resetting one at each event of a stream is expensive. This
//! timer keeps its earlier deadline, and resets itself for the rest of the time when that deadline fires.

use std::pin::Pin;

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer, registered with tokio at the first wait.
#[derive(Debug, Default)]
pub struct LazyTimer(Option<Pin<Box<Sleep>>>);

impl LazyTimer {
    /// Waits until `deadline`, or forever without one. The future may be dropped before it is ready, and `until` called
    /// again with another deadline.
    pub async fn until(&mut self, deadline: Option<Instant>) {
        let Some(deadline) = deadline else {
            return std::future::pending().await;
        };
        let timer = self
            .0
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        // Only an earlier deadline needs a reset now; a later one waits for the timer to fire.
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().await;
        if timer.deadline() < deadline {
            timer.as_mut().reset(deadline);
            timer.as_mut().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_timer_fires_at_its_last_deadline() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut timer = LazyTimer::default();
        for deadline in [at(20), at(5), at(30), at(31)] {
            let waited = timeout(Duration::from_secs(1), timer.until(Some(deadline))).await;
            assert!(waited.is_err(), "fired before {deadline:?}");
        }
        for deadline in [at(40), at(41), at(60), at(50)] {
            let due = deadline.max(Instant::now());
            timer.until(Some(deadline)).await;
            assert_eq!(Instant::now(), due);
        }
        let without_deadline = timeout(Duration::from_secs(100), timer.until(None)).await;
        assert!(without_deadline.is_err());
    }
}
