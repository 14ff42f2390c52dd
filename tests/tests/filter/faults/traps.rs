//! A trap in each host call in turn: its request fails, and the next one is checked by a new VM.
//! Follows `failure_policy: FAIL_RELOAD`.

use serde_json::json;
use tests::filter_wasm::FilterBuild;
use tests::wasm_host::{Host, Outcome, Request, Response};

use crate::gateway::{base_with, chat, good_chat, outcome, start, start_build, upstream};

/// Traps after 0, 1, 2, ... host calls until the request gets a response; returns the number of traps.
fn trap_in_each_call(host: &mut Host, request: &Request) -> u64 {
    for calls in 0..1000 {
        host.worker(0).trap_after(calls);
        let exchange = host.worker(0).exchange(request.clone(), upstream);
        if !matches!(exchange.outcome, Outcome::Trapped(_)) {
            return calls;
        }
        let next = host.worker(0).exchange(chat("{}"), |_| Response::ok());
        assert_eq!(
            outcome(&next),
            "401 invalid_api_key",
            "after a trap in call {calls}"
        );
    }
    panic!("a request does not take a thousand host calls");
}

#[test]
fn request_after_a_trap_in_any_host_call_is_guarded() {
    let config = base_with(json!({"rate_limit": {"requests": 1000, "window_ms": 60_000}}));
    for (build, hold_headers) in FilterBuild::ALL
        .iter()
        .flat_map(|build| [(*build, false), (*build, true)])
    {
        let mut host = start_build(build, &config, hold_headers);
        for request in [
            good_chat(),
            good_chat().header("origin", "https://app.example"),
        ] {
            let traps = trap_in_each_call(&mut host, &request);
            assert!(traps > 3, "{traps} host calls");
        }
        let exchange = host.worker(0).exchange(good_chat(), upstream);
        assert_eq!(outcome(&exchange), "forwarded");
    }
}

#[test]
fn trap_does_not_refill_buckets() {
    let config = base_with(json!({"rate_limit": {"requests": 1, "window_ms": 60_000}}));
    let mut host = start(&config, false);
    assert_eq!(
        outcome(&host.worker(0).exchange(good_chat(), upstream)),
        "forwarded"
    );
    host.worker(0).trap_after(0);
    host.worker(0).exchange(good_chat(), upstream);
    let exchange = host.worker(0).exchange(good_chat(), upstream);
    assert_eq!(
        (outcome(&exchange).as_str(), host.worker(0).reloads()),
        ("429 rate_limited", 1)
    );
}
