//! Token buckets in the data that all workers of an Envoy share.
//! The generic cell rate algorithm (ITU-T I.371, annex A): a bucket is one instant, the time at which it is full again.

use std::hash::{DefaultHasher, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Buckets for callers without a valid key. Shared data can never be removed, so that made-up bearers and addresses
/// share a fixed table; two addresses in one slot share its tokens, which costs a stranger some guesses.
pub const STRANGER_SLOTS: u16 = 1024;

/// How far the clock must go back to count as having been set. Workers read the time before they write, so that
/// they may be behind one another by as long as a callback takes; that is no reason to touch a bucket.
const CLOCK_SLACK_NANOS: u64 = 1_000_000_000;

/// How often a write is tried anew when another worker was faster. Each failure means that another one got through,
/// so that this is never reached by a handful of workers; if it is, the request is refused.
const MAX_ATTEMPTS: u32 = 64;

/// What the workers share under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A value, and the version to hand back with [`SharedData::replace`].
    Found(Vec<u8>, u32),
    /// Nothing yet.
    Missing,
    /// The host does not say.
    Unreadable,
}

/// The data that all workers share, with compare-and-swap.
pub trait SharedData {
    /// What there is under a key.
    fn read(&self, key: &str) -> Entry;

    /// Writes the value if the key still has this version (`None`: whatever it has); tells whether it had.
    fn replace(&self, key: &str, value: &[u8], version: Option<u32>) -> bool;
}

/// So many requests at once, and as many again over the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    requests: NonZeroU32,
    /// The time that one token takes to come back; rounded up, so that no window gives more than it should.
    nanos_per_request: u64,
}

/// What is left after a request was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// The bucket's size.
    pub limit: u32,
    /// Requests that would be accepted at once.
    pub remaining: u32,
    /// Time until the bucket is full again.
    pub reset: Duration,
}

/// The request comes too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted {
    /// What is left: no request, and when the bucket is full again.
    pub quota: Quota,
    /// Time until the next request would be accepted.
    pub retry_after: Duration,
}

/// A full bucket, as it is written when there is none.
const FULL: [u8; 8] = [0; 8];

impl Limit {
    /// So many requests a window.
    pub fn new(requests: NonZeroU32, window: Duration) -> Self {
        let nanos = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX);
        Self {
            requests,
            nanos_per_request: nanos.div_ceil(u64::from(requests.get())),
        }
    }

    /// Takes a token from the bucket of this key.
    ///
    /// # Errors
    ///
    /// [`Exhausted`] when there is none, when other workers write without end, or when nobody can tell.
    pub fn charge(
        &self,
        shared: &impl SharedData,
        key: &str,
        now: SystemTime,
    ) -> Result<Quota, Exhausted> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_nanos = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        for _ in 0..MAX_ATTEMPTS {
            let (bucket, version) = match shared.read(key) {
                Entry::Found(value, version) => (parse_bucket(&value), Some(version)),
                Entry::Missing => (0, None),
                Entry::Unreadable => break,
            };
            let Step { full_at, outcome } = self.take(bucket, now_nanos);
            // A refusal leaves the bucket alone, and then there is nothing to write.
            if full_at.is_none_or(|full_at| shared.replace(key, &full_at.to_le_bytes(), version)) {
                return outcome;
            }
        }
        Err(self.exhausted(self.capacity_nanos(), now_nanos))
    }

    /// One step of the algorithm. Tokens come back only as the clock goes forward: after it was set back the bucket
    /// is empty, so that no movement of the clock gives more than it would have given without.
    pub(super) fn take(&self, full_at: u64, now: u64) -> Step {
        let latest = now.saturating_add(self.capacity_nanos());
        if full_at > latest.saturating_add(CLOCK_SLACK_NANOS) {
            return Step {
                full_at: Some(latest),
                outcome: Err(self.exhausted(latest, now)),
            };
        }
        let next = full_at.max(now).saturating_add(self.nanos_per_request);
        if next > latest {
            return Step {
                full_at: None,
                outcome: Err(self.exhausted(full_at, now)),
            };
        }
        Step {
            full_at: Some(next),
            outcome: Ok(self.quota(next, now)),
        }
    }

    fn capacity_nanos(&self) -> u64 {
        self.nanos_per_request
            .saturating_mul(u64::from(self.requests.get()))
    }

    fn quota(&self, full_at: u64, now: u64) -> Quota {
        let missing_nanos = full_at.saturating_sub(now);
        let room_nanos = self.capacity_nanos().saturating_sub(missing_nanos);
        let remaining = room_nanos
            .checked_div(self.nanos_per_request)
            .unwrap_or_default();
        Quota {
            limit: self.requests.get(),
            remaining: u32::try_from(remaining).unwrap_or(u32::MAX),
            reset: Duration::from_nanos(missing_nanos),
        }
    }

    fn exhausted(&self, full_at: u64, now: u64) -> Exhausted {
        let next = full_at.max(now).saturating_add(self.nanos_per_request);
        let wait_nanos = next.saturating_sub(now.saturating_add(self.capacity_nanos()));
        Exhausted {
            quota: self.quota(full_at, now),
            retry_after: Duration::from_nanos(wait_nanos),
        }
    }
}

pub(super) struct Step {
    /// What to write, if anything.
    full_at: Option<u64>,
    pub(super) outcome: Result<Quota, Exhausted>,
}

impl Quota {
    /// OpenAI's fields.
    pub fn fields(&self) -> [(&'static str, String); 3] {
        [
            ("x-ratelimit-limit-requests", self.limit.to_string()),
            ("x-ratelimit-remaining-requests", self.remaining.to_string()),
            ("x-ratelimit-reset-requests", write_duration(self.reset)),
        ]
    }
}

/// Creates the buckets that are not there yet: when two workers create one at the same time, one charge is lost.
pub fn create_buckets<'a>(shared: &impl SharedData, clients: impl Iterator<Item = &'a str>) {
    let clients = clients.map(client_bucket);
    for key in clients.chain((0..STRANGER_SLOTS).map(stranger_bucket)) {
        if shared.read(&key) == Entry::Missing {
            // A worker that was faster has created it, which is just as well.
            let _ = shared.replace(&key, &FULL, None);
        }
    }
}

/// The shared-data key of a client's bucket.
pub fn client_bucket(id: &str) -> String {
    format!("codex-edge.client.{id}")
}

/// The shared-data key of the bucket of callers from this address who have no valid key.
///
/// An IPv6 customer has a network of 2^64 addresses, so that the network counts; the port never does.
pub fn address_bucket(address: &[u8]) -> String {
    let network = std::str::from_utf8(address)
        .ok()
        .and_then(parse_address)
        .map(write_network);
    // All workers have to come to the same slot: this hasher has no key of its own.
    let mut hasher = DefaultHasher::new();
    hasher.write(network.as_deref().unwrap_or(address));
    let slot = hasher.finish() % u64::from(STRANGER_SLOTS);
    stranger_bucket(u16::try_from(slot).unwrap_or_default())
}

fn stranger_bucket(slot: u16) -> String {
    format!("codex-edge.stranger.{slot}")
}

fn parse_address(text: &str) -> Option<IpAddr> {
    let address = text
        .parse()
        .map(|socket: SocketAddr| socket.ip())
        .or_else(|_| text.parse());
    Some(address.ok()?.to_canonical())
}

fn write_network(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().into_iter().take(8).collect(),
    }
}

/// Anything but eight bytes is no bucket of ours, and then nobody has charged it yet.
pub(super) fn parse_bucket(value: &[u8]) -> u64 {
    value.try_into().map_or(0, u64::from_le_bytes)
}

/// Durations as OpenAI writes them: `20ms`, `1s`, `6m0s`, `1h0m0s`.
pub(super) fn write_duration(duration: Duration) -> String {
    let millis = duration.as_nanos().div_ceil(1_000_000);
    if millis < 1000 {
        return format!("{millis}ms");
    }
    let seconds = millis.div_ceil(1000);
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s}s"),
        (h, m, s) => format!("{h}h{m}m{s}s"),
    }
}
