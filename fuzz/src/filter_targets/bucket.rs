//! A bucket accepts at most its limit plus the refill of the time that passed, for any clock and any concurrent worker.

use std::cell::{Cell, RefCell};
use std::num::NonZeroU32;
use std::time::{Duration, UNIX_EPOCH};

use arbitrary::{Arbitrary, Unstructured};
use filter::rate_limit::{RateLimit, SharedData, SharedValue};

/// The maximum of requests, and of the window in milliseconds, in a configuration.
const MAX_LIMIT: (u32, u64) = (1_000_000, 24 * 60 * 60 * 1000);
/// The latest time of a clock, in nanoseconds: in the year 2262.
const END_OF_TIME: u64 = i64::MAX.unsigned_abs();

#[derive(Arbitrary, Debug)]
struct BucketScenario {
    requests: NonZeroU32,
    window_ms: u64,
    start_nanos: u64,
    charges: Vec<Charge>,
}

/// A request, and optionally one of another worker between its read and its write.
#[derive(Arbitrary, Debug)]
struct Charge {
    clock_nanos: i64,
    other_clock_nanos: Option<i64>,
}

pub(crate) fn check(input: &[u8]) {
    let Ok(scenario) = BucketScenario::arbitrary_take_rest(Unstructured::new(input)) else {
        return;
    };
    let requests = scenario
        .requests
        .min(NonZeroU32::new(MAX_LIMIT.0).expect("not zero"));
    let window = Duration::from_millis(scenario.window_ms.clamp(1, MAX_LIMIT.1));
    let bucket = Bucket::new(
        RateLimit::new(requests, window),
        scenario.start_nanos.min(END_OF_TIME),
    );
    for charge in scenario.charges {
        bucket.other_worker.set(charge.other_clock_nanos);
        bucket.charge(charge.clock_nanos);
    }
    let requests = u128::from(requests.get());
    let max = requests + bucket.forward_nanos.get() * requests / window.as_nanos();
    let accepted = bucket.accepted.get();
    assert!(accepted <= max, "{accepted} accepted, {max} allowed");
}

/// Shared data with one key, and the clock of the current worker.
struct Bucket {
    limit: RateLimit,
    value: RefCell<Vec<u8>>,
    version: Cell<u32>,
    other_worker: Cell<Option<i64>>,
    clock_nanos: Cell<u64>,
    /// Sum of the forward steps of the clock between two charges, in the order of their ends.
    forward_nanos: Cell<u128>,
    ended_nanos: Cell<u64>,
    accepted: Cell<u128>,
}

impl Bucket {
    fn new(limit: RateLimit, start_nanos: u64) -> Self {
        Self {
            limit,
            // Exists from the start: two workers that create a bucket at the same time lose a charge.
            value: RefCell::new(vec![0; 8]),
            version: Cell::new(1),
            other_worker: Cell::default(),
            clock_nanos: Cell::new(start_nanos),
            forward_nanos: Cell::default(),
            ended_nanos: Cell::new(start_nanos),
            accepted: Cell::default(),
        }
    }

    /// Charges the bucket after the clock has moved by `clock_nanos`.
    fn charge(&self, clock_nanos: i64) {
        let now = self
            .clock_nanos
            .get()
            .saturating_add_signed(clock_nanos)
            .min(END_OF_TIME);
        self.clock_nanos.set(now);
        let time = UNIX_EPOCH + Duration::from_nanos(now);
        let is_accepted = self.limit.charge(self, "key", time).is_ok();
        self.accepted
            .set(self.accepted.get() + u128::from(is_accepted));
        let forward = now.saturating_sub(self.ended_nanos.replace(now));
        self.forward_nanos
            .set(self.forward_nanos.get() + u128::from(forward));
    }
}

impl SharedData for Bucket {
    fn read(&self, _: &str) -> SharedValue {
        SharedValue::Found(self.value.borrow().clone(), self.version.get())
    }

    fn replace(&self, _: &str, value: &[u8], version: Option<u32>) -> bool {
        if let Some(clock_nanos) = self.other_worker.take() {
            self.charge(clock_nanos);
        }
        if version != Some(self.version.get()) {
            return false;
        }
        self.value.replace(value.to_vec());
        self.version.set(self.version.get() + 1);
        true
    }
}
