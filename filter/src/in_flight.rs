//! The requests that have not ended: their number for each client, and the bytes of their bodies that Envoy holds.
//!
//! The numbers belong to one Envoy worker thread: each has a VM of its own, so that a trap, after which Envoy reports no
//! end of the VM's streams, cannot leak a count. Held bytes follow the dynamic thresholds of shared-memory switches
//! (Choudhury and Hahne, 1998): a client may hold as much as it leaves free.

use std::cell::Cell;
use std::rc::Rc;

use crate::reply::RejectReason;

/// The requests in flight and the held bytes of one client, or of all.
#[derive(Debug, Default)]
pub struct Usage {
    requests: Cell<u64>,
    bytes: Cell<u64>,
}

/// The limits of one worker thread.
#[derive(Clone, Copy, Debug)]
pub struct InFlightLimits {
    /// The most requests of one client.
    pub client_requests: u64,
    /// The most bytes of bodies that Envoy holds for all clients.
    pub held_bytes: u64,
}

/// The limits and the usage of a worker thread.
#[derive(Debug)]
pub struct InFlightAccount {
    /// The limits.
    pub limits: InFlightLimits,
    /// The usage of all clients.
    pub all: Rc<Usage>,
    /// The usage of all requests without a key, which are those of one client.
    pub without_key: Rc<Usage>,
}

/// A request in flight. Its drop, at the end of the stream, ends its usage.
#[derive(Debug)]
pub struct InFlight {
    limits: InFlightLimits,
    all: Rc<Usage>,
    client: Rc<Usage>,
    held_bytes: u64,
}

impl InFlightAccount {
    /// An account without requests.
    pub fn new(limits: InFlightLimits) -> Self {
        Self {
            limits,
            all: Rc::default(),
            without_key: Rc::default(),
        }
    }

    /// Counts a request of the client with this usage, or of one without a key.
    ///
    /// # Errors
    /// The client has as many requests in flight as it may have.
    pub fn admit(&self, client: Option<&Rc<Usage>>) -> Result<InFlight, RejectReason> {
        let client = client.unwrap_or(&self.without_key);
        let requests = client.requests.get();
        if requests >= self.limits.client_requests {
            return Err(RejectReason::ClientRequestsExceeded);
        }
        client.requests.set(requests + 1);
        Ok(InFlight {
            limits: self.limits,
            all: Rc::clone(&self.all),
            client: Rc::clone(client),
            held_bytes: 0,
        })
    }
}

impl InFlight {
    /// Holds `bytes` of the body from now on, more or fewer than before. It never fails to shrink.
    ///
    /// # Errors
    /// The client, or all of them, hold too much; the request holds as much as before.
    pub fn hold(&mut self, bytes: u64) -> Result<(), RejectReason> {
        let others = self.all.bytes.get().saturating_sub(self.held_bytes);
        let others_of_client = self.client.bytes.get().saturating_sub(self.held_bytes);
        let all = others.saturating_add(bytes);
        let client = others_of_client.saturating_add(bytes);
        if bytes > self.held_bytes && client > self.limits.held_bytes.saturating_sub(all) {
            return Err(if others_of_client > 0 {
                RejectReason::ClientMemoryExceeded
            } else {
                RejectReason::MemoryExceeded
            });
        }
        self.all.bytes.set(all);
        self.client.bytes.set(client);
        self.held_bytes = bytes;
        Ok(())
    }

    /// Holds `bytes` of the body, unless more were announced.
    ///
    /// # Errors
    /// As for [`Self::hold`].
    pub fn hold_at_least(&mut self, bytes: u64) -> Result<(), RejectReason> {
        if bytes > self.held_bytes {
            self.hold(bytes)
        } else {
            Ok(())
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let _ = self.hold(0); // Shrinking never fails.
        let requests = self.client.requests.get();
        self.client.requests.set(requests.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> InFlightAccount {
        InFlightAccount::new(InFlightLimits {
            client_requests: 3,
            held_bytes: 120,
        })
    }

    #[test]
    fn requests_of_a_client_are_bounded_and_end_with_their_stream() {
        let account = account();
        let (ann, bob) = (Rc::default(), Rc::default());
        let mut requests: Vec<_> = (0..3).map(|_| account.admit(Some(&ann)).unwrap()).collect();
        for _ in 0..2 {
            let refused = account.admit(Some(&ann)).unwrap_err();
            assert_eq!(refused, RejectReason::ClientRequestsExceeded);
        }
        assert!(account.admit(Some(&bob)).is_ok());
        assert!(account.admit(None).is_ok());
        requests.pop();
        assert!(account.admit(Some(&ann)).is_ok());
    }

    #[test]
    fn client_holds_at_most_as_much_as_it_leaves_free() {
        let account = account();
        let (ann, bob, cy) = (Rc::default(), Rc::default(), Rc::default());
        let mut first = account.admit(Some(&ann)).unwrap();
        let mut second = account.admit(Some(&ann)).unwrap();
        let mut third = account.admit(Some(&bob)).unwrap();
        let mut fourth = account.admit(Some(&cy)).unwrap();
        assert_eq!(first.hold(61), Err(RejectReason::MemoryExceeded));
        assert_eq!(first.hold(60), Ok(()));
        assert_eq!(second.hold(1), Err(RejectReason::ClientMemoryExceeded));
        assert_eq!(third.hold(30), Ok(()));
        assert_eq!(fourth.hold(16), Err(RejectReason::MemoryExceeded));
        assert_eq!(fourth.hold(15), Ok(()));
        assert_eq!(first.hold(20), Ok(()), "shrinks although others took more");
        assert_eq!(first.hold_at_least(10), Ok(()));
        assert_eq!(account.all.bytes.get(), 65);
        drop((first, second, third, fourth));
        assert_eq!(account.all.bytes.get(), 0);
        assert_eq!(ann.bytes.get(), 0);
    }
}
