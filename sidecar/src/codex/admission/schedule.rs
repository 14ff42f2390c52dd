//! The schedule of the permits: the turns of each client, the queue, and the client whose turn is next. No IO, no clock.
//!
//! Written by hand: tokio's `Semaphore` is one queue in the order of arrival, so that one client can hold all permits
//! and all places before them.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::config::Limits;
use crate::turn::NotAdmitted;

/// Time for which a client counts as active after its last request or turn. While two clients are active, a permit is
/// kept free of the larger one, so that the other one does not wait for the end of a turn that may take minutes.
pub(super) const ACTIVE: Duration = Duration::from_mins(10);

/// The id of a client; empty without authentication.
pub(super) type ClientId = Arc<str>;

/// The permits and the queue. Invariant after each call: no queued client that may begin a turn at that time waits while
/// a permit is free.
#[derive(Debug)]
pub(super) struct Schedule {
    limits: Limits,
    clients: HashMap<ClientId, ClientTurns>,
    /// The clients with queued requests, the next one first.
    next: VecDeque<ClientId>,
    running: usize,
    queued: usize,
    last_place: u64,
}

#[derive(Debug)]
struct ClientTurns {
    running: usize,
    /// Queued requests, the oldest first.
    queued: VecDeque<Place>,
    last_seen: Instant,
}

#[derive(Debug)]
struct Place {
    number: u64,
    end: oneshot::Sender<PlaceEnd>,
}

/// The end of a place in the queue, unless its request leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PlaceEnd {
    /// The request has a permit.
    Granted,
    /// A client with fewer queued requests has taken the place.
    Displaced,
}

/// The result of a request for a permit.
#[derive(Debug)]
pub(super) enum Asked {
    Granted,
    Queued {
        number: u64,
        end: oneshot::Receiver<PlaceEnd>,
    },
}

impl Schedule {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            clients: HashMap::new(),
            next: VecDeque::new(),
            running: 0,
            queued: 0,
            last_place: 0,
        }
    }

    /// Returns the number of turns that hold a permit.
    pub(super) fn running(&self) -> usize {
        self.running
    }

    /// Returns the number of queued requests.
    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    /// Asks for a permit.
    ///
    /// # Errors
    /// The queue is full, and no other client has more than its part of it.
    pub(super) fn ask(&mut self, client: &ClientId, now: Instant) -> Result<Asked, NotAdmitted> {
        // First, because a share grows with time alone, and earlier requests of the client go before this one.
        self.grant(now);
        self.clients
            .retain(|id, turns| id == client || turns.is_active(now));
        self.of(client, now).last_seen = now;
        if self.may_begin(client, now) {
            self.begin(client, now);
            return Ok(Asked::Granted);
        }
        if self.queued >= self.limits.queue && !self.make_room(client) {
            return Err(match self.has_free_permit() {
                true => NotAdmitted::ShareAndQueueFull,
                false => NotAdmitted::QueueFull,
            });
        }
        let (end, ended) = oneshot::channel();
        self.last_place += 1;
        let number = self.last_place;
        let turns = self.of(client, now);
        turns.queued.push_back(Place { number, end });
        if turns.queued.len() == 1 {
            self.next.push_back(Arc::clone(client));
        }
        self.queued += 1;
        Ok(Asked::Queued { number, end: ended })
    }

    /// Removes a queued request; returns false if its place has already ended.
    pub(super) fn leave(&mut self, client: &ClientId, number: u64) -> bool {
        let Some(turns) = self.clients.get_mut(client) else {
            return false;
        };
        let Some(at) = turns.queued.iter().position(|place| place.number == number) else {
            return false;
        };
        turns.queued.remove(at);
        self.queued -= 1;
        self.forget_if_idle(client);
        true
    }

    /// Takes back the permit of a turn, and grants it to the next request.
    pub(super) fn release(&mut self, client: &ClientId, now: Instant) {
        let turns = self.of(client, now);
        turns.running -= 1;
        turns.last_seen = now;
        self.running -= 1;
        self.grant(now);
    }

    /// Returns the limit on which a queued request waits: a permit that is free is not for its client.
    pub(super) fn timed_out(&self) -> NotAdmitted {
        match self.has_free_permit() {
            true => NotAdmitted::ShareTimeout,
            false => NotAdmitted::QueueTimeout,
        }
    }

    /// Grants the free permits: to one request of each client in turn, the oldest first.
    fn grant(&mut self, now: Instant) {
        while let Some(at) = self.next.iter().position(|id| self.may_begin(id, now)) {
            let Some(client) = self.next.remove(at) else {
                return;
            };
            let turns = self.of(&client, now);
            let place = turns.queued.pop_front();
            if !turns.queued.is_empty() {
                self.next.push_back(Arc::clone(&client));
            }
            let Some(place) = place else {
                continue;
            };
            self.queued -= 1;
            // A request leaves the queue before it drops its receiver, so this does not fail.
            if place.end.send(PlaceEnd::Granted).is_ok() {
                self.begin(&client, now);
            }
        }
    }

    fn begin(&mut self, client: &ClientId, now: Instant) {
        self.of(client, now).running += 1;
        self.running += 1;
    }

    /// Ends the newest place of the client with the most places, if that client keeps at least as many as `client` gets.
    fn make_room(&mut self, client: &ClientId) -> bool {
        let own = self.queued_of(client);
        let largest = self
            .next
            .iter()
            .max_by_key(|id| self.queued_of(id))
            .cloned();
        let Some(largest) = largest.filter(|id| self.queued_of(id) > own + 1) else {
            return false;
        };
        let newest = self
            .clients
            .get_mut(&largest)
            .and_then(|turns| turns.queued.pop_back());
        let Some(newest) = newest else {
            return false;
        };
        self.queued -= 1;
        newest.end.send(PlaceEnd::Displaced).ok(); // As in `grant`.
        true
    }

    fn may_begin(&self, client: &ClientId, now: Instant) -> bool {
        self.has_free_permit() && !self.is_at_its_share(client, now)
    }

    fn has_free_permit(&self) -> bool {
        self.limits.turns.is_none_or(|all| self.running < all.get())
    }

    fn is_at_its_share(&self, client: &ClientId, now: Instant) -> bool {
        let running = self.clients.get(client).map_or(0, |turns| turns.running);
        self.share(client, now)
            .is_some_and(|share| running >= share.get())
    }

    /// The most turns that the client may run at once; `None` is unlimited.
    fn share(&self, client: &ClientId, now: Instant) -> Option<NonZeroUsize> {
        if self.limits.client_turns.is_some() {
            return self.limits.client_turns;
        }
        let all = self.limits.turns?;
        let is_other =
            |(id, turns): (&ClientId, &ClientTurns)| id != client && turns.is_active(now);
        if self.clients.iter().any(is_other) {
            // A single permit has no share to keep free.
            Some(NonZeroUsize::new(all.get() - 1).unwrap_or(all))
        } else {
            Some(all)
        }
    }

    fn queued_of(&self, client: &ClientId) -> usize {
        self.clients
            .get(client)
            .map_or(0, |turns| turns.queued.len())
    }

    fn of(&mut self, client: &ClientId, now: Instant) -> &mut ClientTurns {
        self.clients
            .entry(Arc::clone(client))
            .or_insert_with(|| ClientTurns {
                running: 0,
                queued: VecDeque::new(),
                last_seen: now,
            })
    }

    fn forget_if_idle(&mut self, client: &ClientId) {
        if self.queued_of(client) == 0 {
            self.next.retain(|id| id != client);
        }
    }
}

impl ClientTurns {
    fn is_active(&self, now: Instant) -> bool {
        let is_idle = self.running == 0 && self.queued.is_empty();
        !is_idle || now.saturating_duration_since(self.last_seen) < ACTIVE
    }
}
