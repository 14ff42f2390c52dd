//! The memory of requests from their first byte until a child has their conversation: a budget for all clients together,
//! and a share of it for each.
//!
//! The share follows the dynamic thresholds of shared-memory switches (Choudhury and Hahne, 1998): a client may hold as
//! much as it leaves free. One client alone gets half of the budget, two get a third each, and the rest stays free for a
//! client that has nothing yet. A semaphore with one permit per byte would bound the total, and know no shares.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The memory that requests of all clients may hold. Cheap to clone.
#[derive(Debug, Clone)]
pub struct MemoryBudget(Arc<Account>);

#[derive(Debug)]
struct Account {
    total_bytes: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    bytes: usize,
    /// The most that was held since the last call of [`MemoryBudget::take_peak`].
    peak_bytes: usize,
    /// Only clients that hold memory.
    by_client: HashMap<String, usize>,
}

/// The limit that a reservation would have exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MemoryExceeded {
    /// The client holds memory already, and may not hold as much more.
    #[error("the requests of this client hold as much memory as its share allows")]
    ClientShare,
    /// The requests of other clients leave too little.
    #[error("the requests of all clients hold as much memory as this deployment allows")]
    Total,
}

/// The memory of one request. Its drop gives the memory back.
#[derive(Debug)]
pub struct MemoryReservation {
    account: Arc<Account>,
    client: String,
    bytes: usize,
}

/// A reservation that is held, and does not change any more; the last clone gives the memory back.
#[derive(Debug, Clone, Default)]
pub struct MemoryHold {
    reservation: Option<Arc<MemoryReservation>>,
}

impl MemoryBudget {
    /// A budget of which nothing is held.
    pub fn new(total_bytes: usize) -> Self {
        Self(Arc::new(Account {
            total_bytes,
            held: Mutex::default(),
        }))
    }

    /// Returns a reservation of no memory for `client`.
    pub fn reservation(&self, client: &str) -> MemoryReservation {
        MemoryReservation {
            account: Arc::clone(&self.0),
            client: client.to_owned(),
            bytes: 0,
        }
    }

    /// Returns the memory that is held, in bytes.
    pub fn held_bytes(&self) -> usize {
        self.0.lock().bytes
    }

    /// Returns the most memory that was held since the last call, in bytes.
    pub fn take_peak(&self) -> usize {
        let mut held = self.0.lock();
        let now = held.bytes;
        std::mem::replace(&mut held.peak_bytes, now)
    }
}

impl MemoryReservation {
    /// The reserved memory, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Changes the reservation to `bytes`. It never fails to shrink.
    ///
    /// # Errors
    /// The client's share or the budget does not allow as much; the reservation is unchanged then.
    pub fn resize(&mut self, bytes: usize) -> Result<(), MemoryExceeded> {
        self.account
            .lock()
            .change(&self.client, self.bytes, bytes, self.account.total_bytes)?;
        self.bytes = bytes;
        Ok(())
    }

    /// Takes `bytes`, at most all, out of the reservation, as a reservation of their own.
    #[must_use]
    pub fn split(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self {
            account: Arc::clone(&self.account),
            client: self.client.clone(),
            bytes,
        }
    }
}

impl Drop for MemoryReservation {
    fn drop(&mut self) {
        self.account.lock().release(&self.client, self.bytes);
    }
}

impl MemoryHold {
    /// Gives the memory back, once no clone holds it.
    pub fn release(&mut self) {
        self.reservation = None;
    }
}

impl From<MemoryReservation> for MemoryHold {
    fn from(reservation: MemoryReservation) -> Self {
        Self {
            reservation: Some(Arc::new(reservation)),
        }
    }
}

impl Account {
    fn lock(&self) -> MutexGuard<'_, Held> {
        // Numbers only: a panic while they are locked leaves them usable.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn change(
        &mut self,
        client: &str,
        before: usize,
        bytes: usize,
        total: usize,
    ) -> Result<(), MemoryExceeded> {
        if bytes <= before {
            self.release(client, before - bytes);
            return Ok(());
        }
        let of_client = self.by_client.get(client).copied().unwrap_or_default();
        let (held, of_client) = (of_client, of_client.saturating_add(bytes - before));
        let all = self.bytes.saturating_add(bytes - before);
        if of_client > total.saturating_sub(all) {
            return Err(if held > before {
                MemoryExceeded::ClientShare
            } else {
                MemoryExceeded::Total
            });
        }
        self.bytes = all;
        self.peak_bytes = self.peak_bytes.max(all);
        self.by_client.insert(client.to_owned(), of_client);
        Ok(())
    }

    fn release(&mut self, client: &str, bytes: usize) {
        self.bytes -= bytes;
        if let Some(held) = self.by_client.get_mut(client) {
            *held -= bytes;
            if *held == 0 {
                self.by_client.remove(client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reserve(
        budget: &MemoryBudget,
        client: &str,
        bytes: usize,
    ) -> Result<MemoryReservation, MemoryExceeded> {
        let mut reservation = budget.reservation(client);
        reservation.resize(bytes)?;
        Ok(reservation)
    }

    #[test]
    fn peak_is_the_most_that_was_held_since_it_was_taken() {
        let budget = MemoryBudget::new(1000);
        assert_eq!(budget.take_peak(), 0);
        let kept = reserve(&budget, "ann", 100).unwrap();
        drop(reserve(&budget, "bob", 200).unwrap());
        assert_eq!(budget.take_peak(), 300);
        assert_eq!(budget.take_peak(), 100, "what is held still");
        drop(kept);
        assert_eq!((budget.take_peak(), budget.take_peak()), (100, 0));
    }

    #[test]
    fn client_holds_at_most_as_much_as_it_leaves_free() {
        let budget = MemoryBudget::new(120);
        let ann = reserve(&budget, "ann", 60).unwrap();
        let exceeded = reserve(&budget, "ann", 1).unwrap_err();
        assert_eq!(exceeded, MemoryExceeded::ClientShare);
        let bob = reserve(&budget, "bob", 30).unwrap();
        assert_eq!(
            reserve(&budget, "cy", 16).unwrap_err(),
            MemoryExceeded::Total
        );
        let cy = reserve(&budget, "cy", 15).unwrap();
        assert_eq!(budget.held_bytes(), 105);
        drop((ann, bob, cy));
        assert_eq!(budget.held_bytes(), 0);
        assert!(budget.0.lock().by_client.is_empty());
    }

    #[test]
    fn failed_growth_keeps_thereservation_and_a_split_is_released_by_itself() {
        let budget = MemoryBudget::new(100);
        let mut first = reserve(&budget, "ann", 40).unwrap();
        assert_eq!(first.resize(51), Err(MemoryExceeded::Total));
        assert_eq!(budget.held_bytes(), 40);
        first.resize(20).unwrap();
        let part = first.split(15);
        drop(first);
        assert_eq!(budget.held_bytes(), 15);
        let hold = MemoryHold::from(part);
        let copy = hold.clone();
        drop(hold);
        assert_eq!(budget.held_bytes(), 15);
        drop(copy);
        assert_eq!(budget.held_bytes(), 0);
    }

    proptest! {
        #[test]
        fn books_balance(steps in prop::collection::vec((0_usize..6, 0_usize..90), 0..60)) {
            let budget = MemoryBudget::new(100);
            let mut held: Vec<_> = (0..6).map(|slot| budget.reservation(["ann", "bob"][slot % 2])).collect();
            for (slot, bytes) in steps {
                let before = held[slot].bytes;
                let resized = held[slot].resize(bytes);
                prop_assert_eq!(held[slot].bytes, if resized.is_ok() { bytes } else { before });
                let sum: usize = held.iter().map(|one| one.bytes).sum();
                prop_assert_eq!(budget.held_bytes(), sum);
                prop_assert!(sum <= 100);
            }
        }
    }
}
