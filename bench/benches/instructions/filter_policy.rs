//! The filter's concerns, each alone. They are compiled for this machine here, so that the scan goes without the vector
//! instructions that the shipped filter has; whole requests of that one are counted by the test `fuel`.

use std::cell::RefCell;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use filter::auth::{Client, KeyHash, Keyring};
use filter::config::{Config, Environment};
use filter::head::RequestHead;
use filter::rate_limit::{Entry, Limit, SharedData};
use filter::scan::ModelScanner;

use crate::chat_bodies::{KIB, model_first, model_last};
use crate::{Case, Work, case};

pub(crate) const CASES: &[Case] = &[
    case("scan-1KiB-model-first", || scan(model_first(KIB))),
    case("scan-1KiB-model-last", || scan(model_last(KIB))),
    case("scan-64KiB-model-first", || scan(model_first(64 * KIB))),
    case("scan-64KiB-model-last", || scan(model_last(64 * KIB))),
    case("scan-1MiB-model-first", || scan(model_first(KIB * KIB))),
    case("scan-1MiB-model-last", || scan(model_last(KIB * KIB))),
    case("bucket-charge", charge),
    case("key-of-1", || look_up(1)),
    case("key-of-10", || look_up(10)),
    case("key-of-1000", || look_up(1000)),
    case("cors-without-origin", || cors(&[])),
    case("cors-allowed-origin", || {
        cors(&[("origin", "https://app.example")])
    }),
    case("cors-foreign-origin", || {
        cors(&[("origin", "https://evil.example")])
    }),
    case("cors-preflight", || {
        cors(&[
            ("origin", "https://app.example"),
            ("access-control-request-method", "POST"),
            (
                "access-control-request-headers",
                "authorization,content-type",
            ),
        ])
    }),
];

/// Envoy hands bodies over in pieces of this size.
const PIECE_BYTES: usize = 16 * KIB;

fn scan(body: Vec<u8>) -> Work {
    Box::new(move || {
        let mut scanner = ModelScanner::default();
        let mut pieces = black_box(&body).chunks(PIECE_BYTES);
        while let Some(piece) = pieces.next()
            && scanner.feed(piece).is_none()
        {}
        black_box(scanner.finish());
    })
}

/// Shared data with one key.
struct Shared(RefCell<(Vec<u8>, u32)>);

impl SharedData for Shared {
    fn read(&self, _: &str) -> Entry {
        let (value, version) = &*self.0.borrow();
        Entry::Found(value.clone(), *version)
    }

    fn replace(&self, _: &str, value: &[u8], _: Option<u32>) -> bool {
        let (old, version) = &mut *self.0.borrow_mut();
        value.clone_into(old);
        *version += 1;
        true
    }
}

fn charge() -> Work {
    let requests = NonZeroU32::new(60).expect("not zero");
    let limit = Limit::new(requests, Duration::from_secs(60));
    let shared = Shared(RefCell::new((vec![0; 8], 1)));
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
        assert!(keyring.add(key, client(number)), "keys differ");
    }
    Box::new(move || {
        let client = keyring.client(black_box(b"Bearer sk-0"), || Some(now()));
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
    }
}

/// The decision on a head of the usual size, and what the answer is told of it.
fn cors(fields: &[(&str, &str)]) -> Work {
    let config = br#"{"auth":"none","cors":{"allowed_origins":["http://localhost:*","https://app.example"]}}"#;
    let config = Config::load(config, &Environment::new(), now()).expect("it is valid");
    let usual = [
        (":method", "OPTIONS"),
        (":path", "/v1/chat/completions"),
        (":authority", "edge.example"),
        ("content-type", "application/json"),
        ("user-agent", "OpenAI/Python 2.6.1"),
        ("accept", "application/json"),
    ];
    let map = write_map(&[&usual, fields].concat());
    Box::new(move || {
        let head = RequestHead::parse(black_box(&map)).expect("the map is whole");
        let cors = config.cors.decide(&head);
        black_box(cors.changes().count());
        black_box(cors.preflight(&head));
    })
}

/// The host's serialized map (proxy-wasm ABI 0.2.1).
fn write_map(fields: &[(&str, &str)]) -> Vec<u8> {
    let number = |number: usize| u32::try_from(number).expect("it fits").to_le_bytes();
    let mut map = number(fields.len()).to_vec();
    for (name, value) in fields {
        map.extend([number(name.len()), number(value.len())].concat());
    }
    for (name, value) in fields {
        map.extend([name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat());
    }
    map
}
