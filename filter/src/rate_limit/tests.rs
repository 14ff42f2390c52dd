//! Tests of the buckets: tables, and generated interleavings and clock movements.

use std::cell::RefCell;
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proptest::prelude::*;

use super::gcra::parse_bucket;
use super::*;

/// Shared data as Envoy keeps it, with other workers that write between a read and a write.
#[derive(Default)]
struct FakeShared {
    values: RefCell<HashMap<String, (Vec<u8>, u32)>>,
    rivals: RefCell<Vec<Rival>>,
}

/// A charge that another worker makes at the next write, at its own time.
type Rival = Box<dyn Fn(&FakeShared)>;

impl SharedData for FakeShared {
    fn read(&self, key: &str) -> SharedValue {
        match self.values.borrow().get(key) {
            Some((value, version)) => SharedValue::Found(value.clone(), *version),
            None => SharedValue::Missing,
        }
    }

    fn replace(&self, key: &str, value: &[u8], version: Option<u32>) -> bool {
        let rival = self.rivals.borrow_mut().pop();
        if let Some(rival) = rival {
            rival(self);
        }
        let mut values = self.values.borrow_mut();
        let current = values.get(key).map(|(_, version)| *version);
        if current != version {
            return false;
        }
        values.insert(
            key.to_owned(),
            (value.to_vec(), current.unwrap_or_default() + 1),
        );
        true
    }
}

fn limit(requests: u32, window_ms: u64) -> RateLimit {
    RateLimit::new(
        NonZeroU32::new(requests).unwrap(),
        Duration::from_millis(window_ms),
    )
}

fn at(millis: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_hours(1_000) + Duration::from_millis(millis)
}

#[test]
fn bucket_empties_and_refills() {
    let (shared, limit) = (FakeShared::default(), limit(3, 3000));
    // Milliseconds, then the remaining requests, or the milliseconds to wait.
    let cases = [
        (0, Ok(2)),
        (0, Ok(1)),
        (0, Ok(0)),
        (0, Err(1000)),
        (400, Err(600)),
        (1000, Ok(0)),
        (1999, Err(1)),
        (2000, Ok(0)),
        (60_000, Ok(2)),
    ];
    for (time, expected) in cases {
        let result = limit
            .charge(&shared, "a", at(time))
            .map(|quota| quota.remaining)
            .map_err(|exhausted| exhausted.retry_after.as_millis());
        assert_eq!(result, expected, "at {time}");
    }
}

#[test]
fn clock_set_back_empties_the_bucket_until_it_refills() {
    let (shared, limit) = (FakeShared::default(), limit(2, 2000));
    assert!(limit.charge(&shared, "a", at(10_000_000)).is_ok());
    let exhausted = limit.charge(&shared, "a", at(0)).unwrap_err();
    assert_eq!(
        (exhausted.quota.remaining, exhausted.retry_after.as_millis()),
        (0, 1000)
    );
    assert!(limit.charge(&shared, "a", at(999)).is_err());
    assert!(limit.charge(&shared, "a", at(1000)).is_ok());
}

#[test]
fn charge_between_read_and_write_is_counted() {
    let shared = FakeShared::default();
    create_buckets(&shared, ["a"].into_iter());
    let limit = limit(2, 60_000);
    let key = client_bucket("a");
    let rival_key = key.clone();
    let rival: Rival =
        Box::new(move |shared| assert!(limit.charge(shared, &rival_key, at(0)).is_ok()));
    shared.rivals.borrow_mut().push(rival);
    assert_eq!(
        limit
            .charge(&shared, &key, at(0))
            .map(|quota| quota.remaining),
        Ok(0)
    );
    assert!(limit.charge(&shared, &key, at(0)).is_err());
}

#[test]
fn bucket_that_loses_every_race_rejects() {
    struct Busy;
    impl SharedData for Busy {
        fn read(&self, _: &str) -> SharedValue {
            SharedValue::Missing
        }
        fn replace(&self, _: &str, _: &[u8], _: Option<u32>) -> bool {
            false
        }
    }
    let exhausted = limit(2, 2000).charge(&Busy, "a", at(0)).unwrap_err();
    assert_eq!(exhausted.quota.remaining, 0);
    assert_eq!(exhausted.retry_after, Duration::from_secs(1));
}

#[test]
fn addresses_share_a_fixed_table() {
    let shared = FakeShared::default();
    create_buckets(&shared, ["a", "b"].into_iter());
    let created = shared.values.borrow().len();
    assert_eq!(created, usize::from(ADDRESS_BUCKETS) + 2);
    for number in 0..5000_u32 {
        let address = format!("{}:{}", std::net::Ipv4Addr::from(number), number % 65536);
        assert!(
            shared
                .values
                .borrow()
                .contains_key(&address_bucket(address.as_bytes())),
            "{address}"
        );
    }
}

#[test]
fn address_has_one_bucket_whatever_its_port_and_notation() {
    let same = [
        ("10.0.0.1:1", "10.0.0.1:65535"),
        ("10.0.0.1:1", "10.0.0.1"),
        ("10.0.0.1:1", "[::ffff:10.0.0.1]:5"),
        ("[2001:db8::1]:1", "[2001:db8::ffff:2]:2"),
    ];
    for (one, other) in same {
        assert_eq!(
            address_bucket(one.as_bytes()),
            address_bucket(other.as_bytes()),
            "{one} {other}"
        );
    }
    assert_ne!(address_bucket(b"10.0.0.1:1"), address_bucket(b"10.0.0.2:1"));
    assert_ne!(
        address_bucket(b"[2001:db8::1]:1"),
        address_bucket(b"[2001:db8:0:1::1]:1")
    );
    assert!(address_bucket(b"/run/\xff.sock").starts_with("codex-edge.address."));
}

proptest! {
    /// However the clock moves: no more requests than the bucket held, plus those refilled as the clock moved forward.
    #[test]
    fn clock_movements_never_give_extra_tokens(
        requests in 1_u32..20,
        window_ms in 1_u64..100_000,
        steps in prop::collection::vec(-200_000_i64..200_000, 1..200),
    ) {
        let (shared, limit) = (FakeShared::default(), limit(requests, window_ms));
        let (mut clock, mut forward_ms, mut accepted) = (10_000_000_i64, 0_i64, 0_u64);
        for step in steps {
            clock += step;
            forward_ms += step.max(0);
            accepted += u64::from(limit.charge(&shared, "a", at(clock.unsigned_abs())).is_ok());
        }
        let refilled = u128::from(forward_ms.unsigned_abs()) * u128::from(requests) / u128::from(window_ms);
        prop_assert!(u128::from(accepted) <= u128::from(requests) + refilled);
    }

    /// Workers that write between each other's read and write, some milliseconds behind or ahead.
    #[test]
    fn interleavings_never_give_extra_tokens(requests in 1_u32..10, delays in prop::collection::vec(prop::option::of(0_u64..900), 1..60)) {
        let shared = FakeShared::default();
        let limit = limit(requests, 1_000_000_000);
        let accepted = std::rc::Rc::new(std::cell::Cell::new(0_u32));
        for delay in delays {
            if let Some(delay) = delay {
                let accepted = std::rc::Rc::clone(&accepted);
                let rival: Rival = Box::new(move |shared| {
                    let ok = limit.charge(shared, "a", at(delay)).is_ok();
                    accepted.set(accepted.get() + u32::from(ok));
                });
                shared.rivals.borrow_mut().push(rival);
            }
            let ok = limit.charge(&shared, "a", at(450)).is_ok();
            accepted.set(accepted.get() + u32::from(ok));
        }
        prop_assert!(accepted.get() <= requests);
    }

    #[test]
    fn any_bucket_at_any_time_stays_within_the_limit(
        value in prop::collection::vec(any::<u8>(), 0..10),
        nanos in any::<u64>(),
        requests in 1_u32..,
        window_ms in any::<u64>(),
    ) {
        let limit = limit(requests, window_ms.max(1));
        let result = limit.take(parse_bucket(&value), nanos).result;
        let remaining = result.map_or_else(|exhausted| exhausted.quota.remaining, |quota| quota.remaining);
        prop_assert!(remaining <= requests);
    }
}
