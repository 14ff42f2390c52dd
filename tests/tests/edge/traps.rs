//! A host call that fails, provoked on purpose in the real Envoy: it costs its request, never the gate, not even when the
//! filter dies of it. Follows `failure_policy` in `envoy/filter.yaml`. What provokes it is Envoy's
//! `capability_restriction_config`: a call that is not on the list fails.

use std::time::Duration;

use http::{Method, Request, StatusCode};
use serde_json::{Map, Value, json};
use tests::envoy::Envoy;
use tests::filter_wasm::filter_wasm;
use tests::http::{Answer, Body, DEADLINE, Version, empty, get, with};
use tests::upstream::{Script, Upstream};
use tests::wasm_host::FilterModule;
use tokio::time::{sleep, timeout};

use crate::stack::{GUARDED, assert_error, keyed_get, start_with};

/// The call that sets a response field; the filter makes it for pages on the list of origins, and for nobody else.
const SET_FIELD: &str = "proxy_replace_header_map_value";

const PAGE: &str = "https://app.example";

/// The call that Rust's standard library cannot do without: where it fails, that is a panic, and on wasm a trap. The
/// filter needs it for an id of its own, and that only when the client's cannot be used.
const RANDOM: &str = "random_get";

const NO_ID: &str = "no id";

/// `filter.yaml`'s line for a plugin that may do everything but `withheld`.
fn restriction(withheld: &str) -> String {
    let module = FilterModule::load(filter_wasm()).expect("the filter loads");
    let (imports, exports) = (module.imports(), module.exports());
    assert!(imports.iter().any(|name| name == withheld));
    let names = imports.into_iter().chain(exports);
    let allowed = names.filter(|name| name != withheld);
    let allowed: Map<String, Value> = allowed.map(|name| (name, json!({}))).collect();
    let config = json!({"allowed_capabilities": allowed});
    format!("capability_restriction_config: {config}")
}

/// An edge whose filter may not make one of its calls.
async fn start_without(withheld: &str) -> (Upstream, Envoy) {
    let policy = "failure_policy: FAIL_RELOAD";
    start_with(Script::Echo, |options| {
        options
            .filter("cors", json!({"allowed_origins": [PAGE]}))
            .replace_in_filter(
                policy,
                &format!("{policy}\n      {}", restriction(withheld)),
            )
    })
    .await
}

async fn send(envoy: &Envoy, version: Version, request: Request<Body>) -> Answer {
    let answer = envoy.connect(version).await.send(request).await;
    answer.expect("Envoy answers")
}

/// The first answer to a stranger that is not a 503, which is all that there is until the filter is back.
async fn answer_of_the_next_filter(envoy: &Envoy, version: Version) -> Answer {
    let back = async {
        loop {
            let answer = send(envoy, version, get(GUARDED)).await;
            if answer.status != StatusCode::SERVICE_UNAVAILABLE {
                return answer;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, back).await.expect("the filter is back")
}

#[tokio::test]
async fn request_after_a_trap_is_authenticated() {
    let (upstream, envoy) = start_without(RANDOM).await;
    for (reloads, version) in [(1, Version::H1), (2, Version::H2)] {
        let answer = send(&envoy, version, keyed_get(GUARDED)).await;
        assert_eq!(answer.status, 200, "all is well with an id");
        let request = with(keyed_get(GUARDED), "x-request-id", NO_ID);
        let trapped = send(&envoy, version, request).await;
        assert_error(&trapped, 503, "server_error", "codex_unavailable");
        let passed = upstream.seen().len();
        let answer = answer_of_the_next_filter(&envoy, version).await;
        assert_error(&answer, 401, "authentication_error", "invalid_api_key");
        assert_eq!(upstream.seen().len(), passed);
        assert_eq!(
            envoy.stat("wasm.codex_edge.vm_reload_success").await,
            reloads
        );
        assert_eq!(send(&envoy, version, keyed_get(GUARDED)).await.status, 200);
    }
}

#[tokio::test]
async fn traps_caused_without_a_key_admit_no_request() {
    let (upstream, envoy) = start_without(RANDOM).await;
    let mut traps = 0;
    for _ in 0..50 {
        for request in [with(get(GUARDED), "x-request-id", NO_ID), get(GUARDED)] {
            let answer = send(&envoy, Version::H1, request).await;
            assert!([401, 503].contains(&answer.status.as_u16()), "{answer:?}");
            traps += usize::from(answer.status == 503);
        }
        sleep(Duration::from_millis(10)).await;
    }
    assert!(traps > 0 && upstream.seen().is_empty(), "{traps}");
    assert!(envoy.stat("wasm.codex_edge.vm_reload_success").await > 0);
}

#[tokio::test]
async fn failed_host_call_fails_only_its_request() {
    let (upstream, envoy) = start_without(SET_FIELD).await;
    for version in [Version::H1, Version::H2] {
        let request = with(keyed_get(GUARDED), "origin", PAGE);
        let answer = send(&envoy, version, request).await;
        assert_error(&answer, 500, "server_error", "internal_error");
        let refused = send(&envoy, version, with(get(GUARDED), "origin", PAGE)).await;
        assert_error(&refused, 401, "authentication_error", "invalid_api_key");
        let preflight = empty(Method::OPTIONS, GUARDED);
        let preflight = with(
            with(preflight, "origin", PAGE),
            "access-control-request-method",
            "GET",
        );
        assert_eq!(send(&envoy, version, preflight).await.status, 204);
        // Envoy would make a 200 of it.
        let grpc = with(
            with(get("/verify"), "origin", PAGE),
            "content-type",
            "application/grpc",
        );
        let unanswered = timeout(
            Duration::from_secs(1),
            envoy.connect(version).await.send(grpc),
        )
        .await;
        assert!(unanswered.is_err(), "{unanswered:?}");
        assert_eq!(send(&envoy, version, keyed_get(GUARDED)).await.status, 200);
    }
    // What came of the page's requests did not come back to it.
    assert_eq!(upstream.seen().len(), 4);
    assert_eq!(envoy.stat("wasm.codex_edge.vm_reload_success").await, 0);
}
