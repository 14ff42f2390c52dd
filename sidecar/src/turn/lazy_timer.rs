//! A timer that is put off again and again and hardly ever goes off.
//! One of tokio's is an entry in a wheel behind a lock; what is put off at each event of a stream must not be set anew
//! each time, so that this one is left as it is until it goes off, and only then set to what is left.

use std::pin::Pin;

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer, set once it is first waited for.
#[derive(Debug, Default)]
pub struct LazyTimer(Option<Pin<Box<Sleep>>>);

impl LazyTimer {
    /// Waits until `deadline`; for ever when there is none. May be dropped before it is ready, and asked again with
    /// another deadline.
    pub async fn until(&mut self, deadline: Option<Instant>) {
        let Some(deadline) = deadline else {
            return std::future::pending().await;
        };
        let timer = self
            .0
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
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
    async fn it_goes_off_at_its_last_deadline_however_often_that_was_moved() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut alarm = LazyTimer::default();
        for deadline in [at(20), at(5), at(30), at(31)] {
            let waited = timeout(Duration::from_secs(1), alarm.until(Some(deadline))).await;
            assert!(waited.is_err(), "it is not yet {deadline:?}");
        }
        for deadline in [at(40), at(41), at(60), at(50)] {
            let due = deadline.max(Instant::now());
            alarm.until(Some(deadline)).await;
            assert_eq!(Instant::now(), due);
        }
        let for_ever = timeout(Duration::from_secs(100), alarm.until(None)).await;
        assert!(for_ever.is_err());
    }
}
