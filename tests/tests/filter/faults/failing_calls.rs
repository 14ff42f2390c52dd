//! A host call that fails, each in turn, from the start or in the middle: no request passes unauthenticated, and no client
//! is mistaken for another. Follows Envoy's `capability_restriction_config`, under which a call that is not allowed
//! returns `InternalFailure`.
//!
//! Most failures trap, because the SDK panics on an unexpected status. The request then gets Envoy's 503 and the next one
//! a new VM (`FAIL_RELOAD`); that VM has all its host calls in these tests, and must enforce every check again.

use serde_json::json;
use tests::filter_wasm::FilterBuild;
use tests::wasm_host::{FilterModule, Host, Message, Outcome, Request};

use crate::gateway::{
    ALICE, base_with, builder, builder_of, chat, good_chat, outcome, start_build, upstream,
};

const PAGE: &str = "https://app.example";

/// A rate of one request a minute, for the client and for rejections.
fn config() -> serde_json::Value {
    let one_request = json!({"requests": 1, "window_ms": 60_000});
    base_with(json!({
        "hold_headers": true,
        "rate_limit": one_request,
        "unauthenticated_rate_limit": one_request,
        "cors": {"allowed_origins": [PAGE]},
    }))
}

/// Two hosts in which this call fails: one from the start, if the filter starts there, and one later.
fn hosts_without(build: FilterBuild, call: &str) -> Vec<Host> {
    let builder = || builder_of(build, &config()).hold_headers(true);
    let mut later = builder().start().expect("no call fails yet");
    later.worker(0).fail_call(call);
    let from_the_start = builder().fail_call(call).start();
    [Ok(later), from_the_start].into_iter().flatten().collect()
}

/// The host calls that the filter imports.
fn host_calls(build: FilterBuild) -> Vec<String> {
    let imports = FilterModule::load(build.path())
        .expect("the filter loads")
        .imports();
    let calls: Vec<_> = imports
        .into_iter()
        .filter(|name| name.starts_with("proxy_"))
        .collect();
    assert!(calls.len() > 10, "{calls:?}");
    calls
}

/// Sends requests while `call` fails, each in a VM of its own if the one before trapped; returns those that the upstream
/// got.
fn forwarded(
    host: &mut Host,
    call: &str,
    requests: impl IntoIterator<Item = Request>,
) -> Vec<Message> {
    let mut seen = Vec::new();
    for request in requests {
        // A VM that replaces a trapped one has all its calls again; in Envoy a restriction would outlive it.
        host.worker(0).fail_call(call);
        host.worker(0).exchange(request, |message| {
            seen.push(message.clone());
            upstream(message)
        });
    }
    seen
}

fn forged(request: Request) -> Request {
    let names = ["x-codex-edge-client", "x-codex-edge-admin"];
    let request = request.header("origin", PAGE);
    names
        .into_iter()
        .fold(request, |request, name| request.header(name, "forged"))
}

#[test]
fn request_without_key_or_model_is_never_forwarded() {
    for build in FilterBuild::ALL {
        for call in host_calls(build) {
            for mut host in hosts_without(build, &call) {
                let unauthenticated = [
                    good_chat().without("authorization"),
                    Request::get("/v1/usage"),
                ];
                let seen = forwarded(&mut host, &call, unauthenticated.map(forged));
                assert!(seen.is_empty(), "{build:?} {call}: {seen:?}");
                let bad_model = chat(r#"{"model":"other"}"#).header("authorization", ALICE);
                let seen = forwarded(&mut host, &call, [forged(bad_model)]);
                assert!(seen.is_empty(), "{build:?} {call}: {seen:?}");
            }
        }
    }
}

#[test]
fn client_is_limited_and_identified_whatever_call_fails() {
    for build in FilterBuild::ALL {
        for call in host_calls(build) {
            for mut host in hosts_without(build, &call) {
                let seen = forwarded(&mut host, &call, [0; 5].map(|_| forged(good_chat())));
                assert!(
                    seen.len() <= 1,
                    "{build:?} {call}: a rate of one, and {} passed",
                    seen.len()
                );
                for message in seen {
                    let internal: Vec<_> = message
                        .headers
                        .iter()
                        .filter(|(name, _)| {
                            name.starts_with(b"x-codex-edge-") || *name == b"authorization"
                        })
                        .collect();
                    let alice = (&b"x-codex-edge-client"[..], &b"alice"[..]);
                    assert_eq!(internal, [alice], "{build:?} {call}");
                }
            }
        }
    }
}

/// Sends requests in which `call` fails, and returns how many of them trapped.
fn provoke(host: &mut Host, call: &str) -> usize {
    let requests = [
        forged(good_chat()),
        forged(good_chat().without("authorization")),
        Request::get("/v1/models").header("x-request-id", "no id"),
    ];
    let mut traps = 0;
    for request in requests {
        host.worker(0).fail_call(call);
        let exchange = host.worker(0).exchange(request, upstream);
        traps += usize::from(matches!(exchange.outcome, Outcome::Trapped(_)));
    }
    traps
}

#[test]
fn request_after_a_trap_is_guarded_by_a_new_vm() {
    let config = base_with(json!({
        "rate_limit": {"requests": 1000, "window_ms": 60_000},
        "cors": {"allowed_origins": [PAGE]},
    }));
    for build in FilterBuild::ALL {
        let mut calls_that_trap = Vec::new();
        for call in host_calls(build) {
            let mut host = start_build(build, &config, true);
            let traps = provoke(&mut host, &call);
            if traps == 0 {
                continue;
            }
            for (request, expected) in [
                (chat("{}"), "401 invalid_api_key"),
                (Request::get("/v1/usage"), "401 invalid_api_key"),
                (good_chat(), "forwarded"),
            ] {
                provoke(&mut host, &call);
                host.worker(0).restore_calls();
                let exchange = host.worker(0).exchange(request, upstream);
                assert_eq!(outcome(&exchange), expected, "{build:?} {call}");
            }
            assert!(host.worker(0).reloads() > 0, "{build:?} {call}");
            calls_that_trap.push(call);
        }
        for call in [
            "proxy_get_header_map_pairs",
            "proxy_remove_header_map_value",
            "proxy_add_header_map_value",
            "proxy_get_shared_data",
            "proxy_set_shared_data",
        ] {
            let traps = calls_that_trap.iter().any(|name| name == call);
            assert!(traps, "{call}: {calls_that_trap:?}");
        }
    }
}

#[test]
fn unreadable_configuration_or_clock_prevents_the_start() {
    for call in [
        "proxy_get_buffer_bytes",
        "proxy_get_current_time_nanoseconds",
    ] {
        let config = base_with(json!({})).to_string();
        let error = builder(&json!(config)).fail_call(call).start().unwrap_err();
        let reason = error.to_string();
        for part in ["trap in proxy_on_configure", "unexpected status: 10"] {
            assert!(reason.contains(part), "{call}: {reason}");
        }
    }
}
