//! Failing host calls in the real Envoy: the affected request fails, and no request passes without authentication, not
//! even when the failure traps the filter. Follows `failure_policy` in `envoy/filter.yaml`. Envoy's
//! `capability_restriction_config` causes the failures: a call that is not on its list fails.

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

/// The call that sets a response header; the filter makes this call only for allowed origins.
const SET_HEADER: &str = "proxy_replace_header_map_value";

const ALLOWED_ORIGIN: &str = "https://app.example";

/// The call for random bytes. Rust's standard library panics when the call fails, and a panic is a trap on wasm. The
/// filter makes this call only for a new request id, when the client's id is invalid.
const RANDOM: &str = "random_get";

/// A request id with a space, which the filter replaces.
const INVALID_ID: &str = "no id";

/// Returns the line of `filter.yaml` that allows the plugin every call except `withheld`.
fn restriction(withheld: &str) -> String {
    let module = FilterModule::load(filter_wasm()).expect("the filter loads");
    let (imports, exports) = (module.imports(), module.exports());
    assert!(imports.iter().any(|name| name == withheld));
    let allowed: Map<String, Value> = imports
        .into_iter()
        .chain(exports)
        .filter(|name| name != withheld)
        .map(|name| (name, json!({})))
        .collect();
    let config = json!({"allowed_capabilities": allowed});
    format!("capability_restriction_config: {config}")
}

/// Starts an edge in which the host call `withheld` of the filter fails.
async fn start_without(withheld: &str) -> (Upstream, Envoy) {
    let policy = "failure_policy: FAIL_RELOAD";
    start_with(Script::Echo, |options| {
        options
            .filter("cors", json!({"allowed_origins": [ALLOWED_ORIGIN]}))
            .replace_in_filter(
                policy,
                &format!("{policy}\n      {}", restriction(withheld)),
            )
    })
    .await
}

async fn send(envoy: &Envoy, version: Version, request: Request<Body>) -> Answer {
    let response = envoy.connect(version).await.send(request).await;
    response.expect("Envoy answers")
}

/// Sends unauthenticated requests until the filter has been reloaded, and returns the first response that is not a 503.
async fn response_after_reload(envoy: &Envoy, version: Version) -> Answer {
    let reloaded = async {
        loop {
            let response = send(envoy, version, get(GUARDED)).await;
            if response.status != StatusCode::SERVICE_UNAVAILABLE {
                return response;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, reloaded)
        .await
        .expect("Envoy reloads the filter")
}

#[tokio::test]
async fn request_after_a_trap_is_authenticated() {
    let (upstream, envoy) = start_without(RANDOM).await;
    for (reloads, version) in [(1, Version::H1), (2, Version::H2)] {
        let response = send(&envoy, version, keyed_get(GUARDED)).await;
        assert_eq!(response.status, 200, "a valid id needs no random bytes");
        let request = with(keyed_get(GUARDED), "x-request-id", INVALID_ID);
        let trapped = send(&envoy, version, request).await;
        assert_error(&trapped, 503, "server_error", "codex_unavailable");
        let forwarded = upstream.seen().len();
        let response = response_after_reload(&envoy, version).await;
        assert_error(&response, 401, "authentication_error", "invalid_api_key");
        assert_eq!(upstream.seen().len(), forwarded);
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
        for request in [with(get(GUARDED), "x-request-id", INVALID_ID), get(GUARDED)] {
            let response = send(&envoy, Version::H1, request).await;
            assert!(
                [401, 503].contains(&response.status.as_u16()),
                "{response:?}"
            );
            traps += usize::from(response.status == 503);
        }
        sleep(Duration::from_millis(10)).await;
    }
    assert!(traps > 0 && upstream.seen().is_empty(), "{traps}");
    assert!(envoy.stat("wasm.codex_edge.vm_reload_success").await > 0);
}

#[tokio::test]
async fn failed_host_call_fails_only_its_request() {
    let (upstream, envoy) = start_without(SET_HEADER).await;
    for version in [Version::H1, Version::H2] {
        let request = with(keyed_get(GUARDED), "origin", ALLOWED_ORIGIN);
        let response = send(&envoy, version, request).await;
        assert_error(&response, 500, "server_error", "internal_error");
        let rejected = send(
            &envoy,
            version,
            with(get(GUARDED), "origin", ALLOWED_ORIGIN),
        )
        .await;
        assert_error(&rejected, 401, "authentication_error", "invalid_api_key");
        let preflight = with(
            with(empty(Method::OPTIONS, GUARDED), "origin", ALLOWED_ORIGIN),
            "access-control-request-method",
            "GET",
        );
        assert_eq!(send(&envoy, version, preflight).await.status, 204);
        // The filter sends no local reply here: Envoy turns a local reply to a gRPC request into a 200.
        let grpc = with(
            with(get("/verify"), "origin", ALLOWED_ORIGIN),
            "content-type",
            "application/grpc",
        );
        let no_response = timeout(
            Duration::from_secs(1),
            envoy.connect(version).await.send(grpc),
        )
        .await;
        assert!(no_response.is_err(), "{no_response:?}");
        assert_eq!(send(&envoy, version, keyed_get(GUARDED)).await.status, 200);
    }
    // Two requests per version are forwarded; the client of the one with an origin got a 500 instead of the response.
    assert_eq!(upstream.seen().len(), 4);
    assert_eq!(envoy.stat("wasm.codex_edge.vm_reload_success").await, 0);
}
