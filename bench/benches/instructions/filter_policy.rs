//! The steps of the filter's policy, measured one by one.
//!
//! The benchmarks run native code, so the body scanner lacks the vector instructions of the shipped wasm module.
//! The test `fuel` counts the wasm instructions of whole requests through the shipped module.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use filter::auth::{Client, KeyHash, Keyring};
use filter::budget::{self, store_spent};
use filter::config::{Config, Environment};
use filter::head::RequestHead;
use filter::rate_limit::{RateLimit, SharedData, SharedValue};
use filter::scan::ModelScanner;
use gungraun::{library_benchmark, library_benchmark_group};

use crate::chat_bodies::{KIB, model_first, model_last};
use crate::work::{Work, call};

#[library_benchmark(setup = call)]
#[bench::model_first_1_kib(scan(model_first(KIB)))]
#[bench::model_last_1_kib(scan(model_last(KIB)))]
#[bench::model_first_64_kib(scan(model_first(64 * KIB)))]
#[bench::model_last_64_kib(scan(model_last(64 * KIB)))]
#[bench::model_first_1_mib(scan(model_first(KIB * KIB)))]
#[bench::model_last_1_mib(scan(model_last(KIB * KIB)))]
fn scan_body(work: Work) -> Work {
    call(work)
}

#[library_benchmark(setup = call)]
#[bench::one_bucket(charge())]
fn charge_rate_limit(work: Work) -> Work {
    call(work)
}

#[library_benchmark(setup = call)]
#[bench::of_1(look_up(1))]
#[bench::of_10(look_up(10))]
#[bench::of_1000(look_up(1000))]
fn look_up_key(work: Work) -> Work {
    call(work)
}

#[library_benchmark(setup = call)]
#[bench::without_origin(cors(&[]))]
#[bench::origin_allowed(cors(&[("origin", "https://app.example")]))]
#[bench::origin_disallowed(cors(&[("origin", "https://evil.example")]))]
#[bench::preflight(cors(&[
    ("origin", "https://app.example"),
    ("access-control-request-method", "POST"),
    ("access-control-request-headers", "authorization,content-type"),
]))]
fn decide_cors(work: Work) -> Work {
    call(work)
}

#[library_benchmark(setup = call)]
#[bench::open(budget_of("bob"))]
#[bench::spent(budget_of("alice"))]
fn check_budget(work: Work) -> Work {
    call(work)
}

library_benchmark_group!(
    name = policy,
    benchmarks = [
        scan_body,
        charge_rate_limit,
        look_up_key,
        decide_cors,
        check_budget
    ]
);

/// Length of the chunks in which Envoy passes a request body to the filter.
const CHUNK_BYTES: usize = 16 * KIB;

fn scan(body: Vec<u8>) -> Work {
    Box::new(move || {
        let mut scanner = ModelScanner::default();
        let mut chunks = black_box(&body).chunks(CHUNK_BYTES);
        while let Some(chunk) = chunks.next()
            && scanner.feed(chunk).is_none()
        {}
        black_box(scanner.finish());
    })
}

/// Shared data with a single entry.
struct SingleEntry(RefCell<(Vec<u8>, u32)>);

impl SharedData for SingleEntry {
    fn read(&self, _: &str) -> SharedValue {
        let (value, version) = &*self.0.borrow();
        SharedValue::Found(value.clone(), *version)
    }

    fn replace(&self, _: &str, value: &[u8], _: Option<u32>) -> bool {
        let (old, version) = &mut *self.0.borrow_mut();
        value.clone_into(old);
        *version += 1;
        true
    }
}

fn charge() -> Work {
    let requests = NonZeroU32::new(60).expect("60 is not zero");
    let limit = RateLimit::new(requests, Duration::from_secs(60));
    let shared = SingleEntry(RefCell::new((vec![0; 8], 1)));
    Box::new(move || {
        let charged = limit.charge(&shared, black_box("codex-edge.client.alice"), now());
        black_box(charged.is_ok());
    })
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn look_up(keys: usize) -> Work {
    let mut keyring = Keyring::default();
    for number in 0..keys {
        let key = KeyHash::of(format!("sk-{number}").as_bytes());
        assert!(keyring.add(key, client(number)), "the keys are distinct");
    }
    Box::new(move || {
        let client = keyring.client(black_box(b"sk-0"), || Some(now()));
        black_box(client.is_some());
    })
}

fn client(number: usize) -> Client {
    Client {
        id: format!("client-{number}"),
        models: None,
        limit: None,
        expires_at: None,
        admin: false,
        profile: None,
        budget: None,
        in_flight: Rc::default(),
    }
}

/// The check of a client's budget, after that of alice was reported as spent.
fn budget_of(id: &'static str) -> Work {
    let shared = Entries::default();
    store_spent(&shared, "alice", b"1800000001000", 7);
    Box::new(move || {
        let wait = budget::wait(&shared, black_box(id), 7, || Some(now()));
        assert_eq!(black_box(wait).is_some(), id == "alice");
    })
}

/// Shared data.
#[derive(Default)]
struct Entries(RefCell<BTreeMap<String, Vec<u8>>>);

impl SharedData for Entries {
    fn read(&self, key: &str) -> SharedValue {
        match self.0.borrow().get(key) {
            Some(value) => SharedValue::Found(value.clone(), 1),
            None => SharedValue::Missing,
        }
    }

    fn replace(&self, key: &str, value: &[u8], _: Option<u32>) -> bool {
        self.0.borrow_mut().insert(key.to_owned(), value.to_vec());
        true
    }
}

/// The CORS decision for a request head of typical size, and the response headers that follow from the decision.
fn cors(headers: &[(&str, &str)]) -> Work {
    let json = br#"{"auth":"none","cors":{"allowed_origins":["http://localhost:*","https://app.example"]}}"#;
    let config =
        Config::load(json, &Environment::new(), now()).expect("the configuration is valid");
    let common = [
        (":method", "OPTIONS"),
        (":path", "/v1/chat/completions"),
        (":authority", "edge.example"),
        ("content-type", "application/json"),
        ("user-agent", "OpenAI/Python 2.6.1"),
        ("accept", "application/json"),
    ];
    let map: Vec<_> = [&common, headers]
        .concat()
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
        .collect();
    Box::new(move || {
        let head = RequestHead::new(black_box(&map));
        let cors = config.cors.decide(&head);
        black_box(cors.mutations().count());
        black_box(cors.preflight(&head));
    })
}
