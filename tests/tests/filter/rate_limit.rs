//! Rate limits: exact across workers, refilled by the clock, and bounded in memory.
//! Follows OpenAI's `x-ratelimit-*` headers, and RFC 9110, section 10.2.3, for `retry-after`.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tests::wasm_host::{Exchange, Host, Request, Worker};

use crate::gateway::{
    ALICE, Gateway, base, base_with, builder, chat, good_chat, outcome, upstream,
};

/// `requests` a minute for each client, and as many rejections an hour for each unauthenticated address.
fn limited(requests: u32) -> Value {
    base_with(json!({
        "rate_limit": {"requests": requests, "window_ms": 60_000},
        "unauthenticated_rate_limit": {"requests": requests, "window_ms": 3_600_000},
    }))
}

fn start(config: &Value, workers: usize) -> Host {
    builder(config).workers(workers).start().expect("accepted")
}

fn send(worker: &mut Worker) -> Exchange {
    worker.exchange(good_chat(), upstream)
}

fn accepted(exchanges: &[Exchange]) -> usize {
    let outcomes = exchanges.iter().map(outcome);
    outcomes.filter(|outcome| outcome == "forwarded").count()
}

#[test]
fn limit_holds_across_alternating_workers() {
    let mut host = start(&limited(10), 3);
    let exchanges: Vec<_> = (0..30).map(|turn| send(host.worker(turn % 3))).collect();
    assert_eq!(accepted(&exchanges), 10);
    assert!(
        exchanges[10..]
            .iter()
            .all(|exchange| outcome(exchange) == "429 rate_limited")
    );
}

#[test]
fn limit_holds_across_concurrent_workers() {
    const LIMIT: u32 = 100;
    let mut host = start(&limited(LIMIT), 4);
    let send_many = |worker: &mut Worker| {
        let exchanges: Vec<_> = (0..60).map(|_| send(worker)).collect();
        accepted(&exchanges)
    };
    let counts: Vec<_> = thread::scope(|scope| {
        let workers = host.workers().iter_mut();
        let threads: Vec<_> = workers
            .map(|worker| scope.spawn(|| send_many(worker)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(counts.iter().sum::<usize>(), LIMIT as usize, "{counts:?}");
}

#[test]
fn concurrent_streams_are_charged_once_each() {
    let mut host = start(&limited(3), 1);
    let requests = (0..8).map(|_| good_chat());
    let exchanges = host.worker(0).interleave(requests, upstream);
    assert_eq!(accepted(&exchanges), 3);
}

#[test]
fn lost_race_is_retried_without_losing_a_token() {
    let mut host = start(&limited(2), 1);
    for left in [1, 0] {
        host.shared_data().lose_next_races(5);
        let exchange = send(host.worker(0));
        let remaining = exchange.header("x-ratelimit-remaining-requests").unwrap();
        assert_eq!(remaining, left.to_string());
    }
    host.shared_data().lose_next_races(5);
    assert_eq!(outcome(&send(host.worker(0))), "429 rate_limited");
}

#[test]
fn endless_race_is_rejected() {
    let mut host = start(&limited(2), 1);
    host.shared_data().lose_next_races(u32::MAX);
    assert_eq!(outcome(&send(host.worker(0))), "429 rate_limited");
}

#[test]
fn responses_have_openais_rate_limit_headers() {
    let mut gateway = Gateway::new(&limited(3));
    let expected = [("2", "20s"), ("1", "40s"), ("0", "1m0s"), ("0", "1m0s")];
    for (turn, (remaining, reset)) in expected.into_iter().enumerate() {
        for exchange in gateway.send(good_chat()) {
            let header = |name| exchange.header(name).unwrap_or_default();
            assert_eq!(header("x-ratelimit-limit-requests"), "3");
            assert_eq!(header("x-ratelimit-remaining-requests"), remaining);
            assert_eq!(header("x-ratelimit-reset-requests"), reset);
            assert_eq!(exchange.status() == 429, turn == 3);
        }
    }
    for host in &gateway.0 {
        host.clock().advance(Duration::from_millis(4_500));
    }
    for exchange in gateway.send(good_chat()) {
        let header = |name| exchange.header(name).unwrap_or_default();
        assert_eq!(
            (header("retry-after"), header("retry-after-ms")),
            ("16".into(), "15500".into())
        );
        assert_eq!(header("access-control-allow-origin"), "*");
        assert!(!exchange.is_forwarded() && exchange.upstream.is_none());
    }
}

#[test]
fn tokens_refill_with_time_and_not_by_setting_the_clock() {
    let mut gateway = Gateway::new(&limited(2));
    gateway.check(good_chat(), "forwarded");
    gateway.check(good_chat(), "forwarded");
    let advance =
        |gateway: &Gateway, by| gateway.0.iter().for_each(|host| host.clock().advance(by));
    advance(&gateway, Duration::from_millis(29_999));
    gateway.check(good_chat(), "429 rate_limited");
    advance(&gateway, Duration::from_millis(1));
    gateway.check(good_chat(), "forwarded");
    gateway.check(good_chat(), "429 rate_limited");
    for host in &gateway.0 {
        let earlier = host.clock().wall() - Duration::from_secs(24 * 3600);
        host.clock().set_wall(earlier);
    }
    gateway.check(good_chat(), "429 rate_limited");
    advance(&gateway, Duration::from_secs(30));
    gateway.check(good_chat(), "forwarded");
    gateway.check(good_chat(), "429 rate_limited");
    // After any time a bucket holds no more than its size.
    advance(&gateway, Duration::from_secs(365 * 24 * 3600));
    gateway.check(good_chat(), "forwarded");
    gateway.check(good_chat(), "forwarded");
    gateway.check(good_chat(), "429 rate_limited");
}

#[test]
fn each_client_has_its_own_bucket_and_limit() {
    let keys = json!([
        {"id": "alice", "key": "sk-alice"},
        {"id": "bob", "key": "sk-bob", "rate_limit": {"requests": 1, "window_ms": 1000}},
        {"id": "carol", "key": "sk-carol", "rate_limit": {"enabled": false}},
    ]);
    let limit = json!({"requests": 2, "window_ms": 60_000});
    let mut gateway = Gateway::new(&base_with(json!({"keys": keys, "rate_limit": limit})));
    for (client, allowed) in [("alice", 2), ("bob", 1), ("carol", 50)] {
        let request = || good_chat().set_header("authorization", format!("Bearer sk-{client}"));
        for _ in 0..allowed {
            gateway.check(request(), "forwarded");
        }
        let next = if client == "carol" {
            "forwarded"
        } else {
            "429 rate_limited"
        };
        gateway.check(request(), next);
    }
    for exchange in gateway.send(good_chat().set_header("authorization", "Bearer sk-carol")) {
        assert_eq!(exchange.header("x-ratelimit-limit-requests"), None);
    }
}

#[test]
fn other_reads_and_probes_are_not_charged() {
    let mut gateway = Gateway::new(&limited(1));
    let alice = |request: Request| request.header("authorization", "Bearer sk-alice");
    for _ in 0..3 {
        gateway.check(alice(Request::get("/v1/models")), "forwarded");
        gateway.check(alice(Request::get("/v1/responses/resp_1")), "forwarded");
        gateway.check(
            alice(Request::new("HEAD", "/v1/chat/completions")),
            "forwarded",
        );
        gateway.check(alice(Request::get("/verify")), "200");
    }
    gateway.check(good_chat(), "forwarded");
    for path in ["/v1/chat/completions", "/v1/completions", "/v1/responses"] {
        gateway.check(alice(Request::post(path).body("{}")), "429 rate_limited");
    }
}

#[test]
fn guessed_keys_are_limited_by_address_and_valid_keys_are_not() {
    let guess = |port: u32, address: &str| {
        chat("{}")
            .header("authorization", format!("Bearer guess-{port}"))
            .property("source.address", format!("{address}:{port}"))
    };
    let mut gateway = Gateway::new(&limited(3));
    for port in 0..3 {
        gateway.check(guess(port, "192.0.2.1"), "401 invalid_api_key");
    }
    gateway.check(guess(99, "192.0.2.1"), "429 rate_limited");
    gateway.check(guess(99, "198.51.100.9"), "401 invalid_api_key");
    let alice = good_chat().property("source.address", "192.0.2.1:1");
    gateway.check(alice, "forwarded");
    // Addresses of one IPv6 /64 share a bucket.
    for host in 0..3 {
        gateway.check(
            guess(1, &format!("[2001:db8::{host}]")),
            "401 invalid_api_key",
        );
    }
    gateway.check(guess(1, "[2001:db8::ffff]"), "429 rate_limited");
}

#[test]
fn made_up_keys_and_addresses_do_not_grow_shared_data() {
    let mut gateway = Gateway::new(&limited(2));
    let sizes = |gateway: &Gateway| {
        let data = gateway.0.each_ref().map(|host| host.shared_data().clone());
        data.map(|data| (data.keys().len(), data.size_bytes()))
    };
    let before = sizes(&gateway);
    for number in 0..3000_u32 {
        let [_, a, b, c] = number.wrapping_mul(2_654_435_761).to_be_bytes();
        let request = chat("{}")
            .header("authorization", format!("Bearer made-up-{number}"))
            .property(
                "source.address",
                format!("10.{a}.{b}.{c}:{}", number % 60_000),
            );
        for exchange in gateway.send(request) {
            assert!(matches!(exchange.status(), 401 | 429), "{exchange:?}");
        }
    }
    assert_eq!(sizes(&gateway), before);
}

#[test]
fn invalid_bucket_counts_as_full() {
    let mut host = start(&limited(1), 1);
    let data = host.shared_data().clone();
    for value in [&b""[..], b"x", &[0xff; 9]] {
        for key in data.keys() {
            data.set(&key, value, 0).unwrap();
        }
        assert_eq!(outcome(&send(host.worker(0))), "forwarded", "{value:?}");
        assert_eq!(
            outcome(&send(host.worker(0))),
            "429 rate_limited",
            "{value:?}"
        );
    }
}

#[test]
fn disabled_limits_charge_no_request() {
    let mut gateway = Gateway::new(&base());
    for _ in 0..400 {
        gateway.check(good_chat(), "forwarded");
    }
    gateway.check(chat("{}"), "401 invalid_api_key");
}

/// Reads of the usage take tokens of the same bucket as turns.
#[test]
fn reads_of_the_usage_are_charged() {
    let mut host = start(&limited(2), 1);
    let worker = host.worker(0);
    for (path, expected) in [
        ("/v1/models", "forwarded"),
        ("/v1/usage", "forwarded"),
        ("/v1/usage/raw", "forwarded"),
        ("/v1/usage", "429 rate_limited"),
        ("/v1/models", "forwarded"),
    ] {
        let request = Request::get(path).header("authorization", ALICE);
        assert_eq!(
            outcome(&worker.exchange(request, upstream)),
            expected,
            "{path}"
        );
    }
    assert_eq!(outcome(&send(worker)), "429 rate_limited");
}
