//! The permits of turns as values: each is dropped with its turn, and each queued request with its future, so that no
//! code path can leak one.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::schedule::{Asked, ClientId, PlaceEnd, Schedule};
use crate::config::Limits;
use crate::turn::NotAdmitted;

/// The permits of all turns, and the queue for them.
#[derive(Debug, Clone)]
pub(in crate::codex) struct Admission {
    schedule: Arc<Mutex<Schedule>>,
    queue_timeout: Duration,
}

impl Admission {
    /// Returns the permits that these limits allow.
    pub(in crate::codex) fn new(limits: Limits) -> Self {
        Self {
            schedule: Arc::new(Mutex::new(Schedule::new(limits))),
            queue_timeout: limits.queue_timeout,
        }
    }

    /// Returns the number of turns that hold a permit.
    pub(in crate::codex) fn running(&self) -> usize {
        self.lock().running()
    }

    /// Returns the number of requests that wait for a permit.
    pub(in crate::codex) fn queued(&self) -> usize {
        self.lock().queued()
    }

    /// Returns a permit for a turn of `client`, at once or from the queue. Dropping the future leaves the queue.
    ///
    /// # Errors
    /// The queue is full, the place in it is given to another client, or `queue_timeout` has passed.
    pub(in crate::codex) async fn permit(&self, client: &str) -> Result<TurnPermit, NotAdmitted> {
        let client = ClientId::from(client);
        // A statement of its own, so that the lock is released before the wait.
        let asked = self.lock().ask(&client, Instant::now())?;
        match asked {
            Asked::Granted => Ok(TurnPermit {
                admission: self.clone(),
                client,
            }),
            Asked::Queued { number, end } => {
                let waiting = QueuedRequest {
                    admission: self.clone(),
                    client,
                    place: Some(number),
                    end,
                };
                waiting.permit().await
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Schedule> {
        self.schedule
            .lock()
            .expect("no code panics while it holds the lock")
    }
}

/// The permit of one concurrent turn. Dropping it admits the next one.
#[derive(Debug)]
pub(in crate::codex) struct TurnPermit {
    admission: Admission,
    client: ClientId,
}

impl Drop for TurnPermit {
    fn drop(&mut self) {
        self.admission.lock().release(&self.client, Instant::now());
    }
}

/// A request in the queue. Dropping it leaves the queue, or gives back the permit that it was just granted.
struct QueuedRequest {
    admission: Admission,
    client: ClientId,
    /// The number of the place, until its end is known here.
    place: Option<u64>,
    end: oneshot::Receiver<PlaceEnd>,
}

impl QueuedRequest {
    async fn permit(mut self) -> Result<TurnPermit, NotAdmitted> {
        match timeout(self.admission.queue_timeout, &mut self.end).await {
            Ok(Ok(PlaceEnd::Granted)) => {
                self.place = None;
                Ok(TurnPermit {
                    admission: self.admission.clone(),
                    client: Arc::clone(&self.client),
                })
            }
            // The schedule drops no sender without a message, as long as this request lives.
            Ok(Ok(PlaceEnd::Displaced) | Err(_)) => {
                self.place = None;
                Err(NotAdmitted::Displaced)
            }
            Err(_) => Err(self.admission.lock().timed_out()),
        }
    }
}

impl Drop for QueuedRequest {
    fn drop(&mut self) {
        let Some(number) = self.place.take() else {
            return;
        };
        let mut schedule = self.admission.lock();
        // The place ends under the lock, so its end is known here.
        let has_left = schedule.leave(&self.client, number);
        if !has_left && self.end.try_recv() == Ok(PlaceEnd::Granted) {
            schedule.release(&self.client, Instant::now());
        }
    }
}
