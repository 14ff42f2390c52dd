//! The cost of a request in guest instructions: exact, so that a regression shows on a busy machine too.
//! The bounds leave room for changes of the compiler; `--nocapture` prints the figures.

use serde_json::{Value, json};
use tests::filter_wasm::FilterBuild;
use tests::wasm_host::{Host, Message, Protocol, Request, Response};

use crate::gateway::{ALICE, base_with, outcome, start_build, upstream};

/// Prose with an escape every twenty bytes, as in chat bodies about code.
const PROSE: &str = r#"The quick brown fox jumps over a \"lazy\" dog in café Größe.\n"#;
/// Mostly structure, the most expensive input for the scanner.
const DENSE: &str = r#"{"role":"user","content":[{"type":"text","text":"hi"}]},"#;

const KIB: usize = 1 << 10;

/// The position of the model in a body.
#[derive(Clone, Copy)]
enum Model {
    First,
    Last,
}

impl Model {
    fn beside(self, messages: &str) -> String {
        match self {
            Self::First => {
                format!(r#"{{"model":"codex-5","stream":true,"messages":[{messages}]}}"#)
            }
            Self::Last => format!(r#"{{"messages":[{messages}],"stream":true,"model":"codex-5"}}"#),
        }
    }
}

/// A chat body of about this size in messages of 4 KB.
fn prose(size: usize, model: Model) -> String {
    let content = PROSE.repeat(size.min(4000) / PROSE.len());
    let message = format!(r#"{{"role":"user","content":"{content}"}}"#);
    model.beside(&vec![message; size.div_ceil(4096)].join(","))
}

/// A chat body of about this size in the shortest messages there are.
fn dense(size: usize, model: Model) -> String {
    let messages = DENSE.repeat(size / DENSE.len());
    model.beside(messages.trim_end_matches(','))
}

fn post(body: &str) -> Request {
    post_as(ALICE, body)
}

fn post_as(key: &str, body: &str) -> Request {
    // Envoy reads sockets in chunks of 16 KiB.
    Request::post("/v1/chat/completions")
        .header("authorization", key)
        .header("content-type", "application/json")
        .header("user-agent", "OpenAI/Python 2.6.1")
        .header("accept", "application/json")
        .protocol(Protocol::Http2)
        .body_pieces(body.as_bytes().chunks(16 * KIB))
}

/// A host with every check enabled, as in production, and a rate above the number of requests here.
fn host(build: FilterBuild) -> Host {
    host_with(build, json!({}))
}

/// As [`host`], with some fields of the configuration replaced.
fn host_with(build: FilterBuild, fields: Value) -> Host {
    let limit = json!({"requests": 60, "window_ms": 60_000});
    let mut config = base_with(fields);
    for name in ["rate_limit", "unauthenticated_rate_limit"] {
        config[name] = limit.clone();
    }
    start_build(build, &config, false)
}

/// Sends a request, prints its cost, and checks the bound.
#[expect(
    clippy::print_stdout,
    reason = "the figures are for the reader of the test"
)]
fn check(host: &mut Host, name: &str, request: Request, expected: &str, bound: u64) {
    let bytes: usize = request.body_bytes();
    let exchange = host.worker(0).exchange(request, upstream);
    let calls: u64 = exchange.calls.values().sum();
    println!("{name:<26} {bytes:>9} {:>12} {calls:>11}", exchange.fuel);
    assert_eq!(outcome(&exchange), expected, "{name}");
    assert!(
        exchange.fuel <= bound,
        "{name}: {} > {bound}",
        exchange.fuel
    );
}

#[test]
fn requests_stay_below_their_instruction_bounds() {
    for build in FilterBuild::ALL {
        check_requests(build);
    }
}

#[expect(
    clippy::print_stdout,
    reason = "the figures are for the reader of the test"
)]
fn check_requests(build: FilterBuild) {
    let host = &mut host(build);
    println!("{build:?}");
    // The first request of a VM pays for the initialisation.
    host.worker(0)
        .exchange(Request::get("/v1/models"), upstream);
    println!(
        "{:<26} {:>9} {:>12} {:>11}",
        "request", "body", "instructions", "host calls"
    );
    let models = || Request::get("/v1/models");
    let with_key = models().header("authorization", ALICE);
    let rejected = Request::get("/v1/usage").header("authorization", "Bearer sk-wrong");
    check(host, "GET, no key", models(), "forwarded", 15_000);
    check(host, "GET, key", with_key, "forwarded", 25_000);
    check(
        host,
        "GET, rejected",
        rejected,
        "401 invalid_api_key",
        60_000,
    );
    use Model::{First, Last};
    for (name, body, bound) in [
        ("POST 1 KiB, model first", prose(KIB, First), 40_000),
        ("POST 1 KiB, model last", prose(KIB, Last), 50_000),
        ("POST 64 KiB, model first", prose(64 * KIB, First), 40_000),
        ("POST 64 KiB, model last", prose(64 * KIB, Last), 600_000),
        ("POST 64 KiB, dense", dense(64 * KIB, Last), 4_000_000),
        ("POST 1 MiB, model first", prose(1000 * KIB, First), 60_000),
        ("POST 1 MiB, model last", prose(1000 * KIB, Last), 9_000_000),
    ] {
        check(host, name, post(&body), "forwarded", bound);
    }
}

#[test]
fn budget_adds_at_most_5000_instructions_to_a_request() {
    let keys = json!([
        {"id": "alice", "key": "sk-alice"},
        {"id": "carol", "key": "sk-carol", "budget": "day=200000,month.output=5000000,cached=0.1"},
    ]);
    let mut host = host_with(FilterBuild::Shipped, json!({"keys": keys}));
    let mut fuel = |key, upstream: fn(&Message) -> Response, expected| {
        let request = post_as(key, &prose(KIB, Model::First));
        let exchange = host.worker(0).exchange(request, upstream);
        assert_eq!(outcome(&exchange), expected);
        exchange.fuel
    };
    let carol = "Bearer sk-carol";
    // The first request of a key pays for its bucket.
    for key in [ALICE, carol] {
        fuel(key, upstream, "forwarded");
    }
    let plain = fuel(ALICE, upstream, "forwarded");
    let open = fuel(carol, upstream, "forwarded");
    let reported = fuel(carol, spent, "forwarded");
    let rejected = fuel(carol, upstream, "429 insufficient_quota");
    println!("budget: none {plain}, open {open}, reported {reported}, spent {rejected}");
    assert!(open <= plain + 5000, "{open} > {plain} + 5000");
    assert!(reported <= plain + 5000, "{reported} > {plain} + 5000");
    assert!(rejected <= 60_000, "as other rejections: {rejected}");
}

/// An upstream at which the budget is spent, until the year 2286.
fn spent(request: &Message) -> Response {
    upstream(request).header("x-codex-edge-budget-spent", "9999999999999")
}
