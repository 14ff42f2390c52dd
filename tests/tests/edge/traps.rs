//! A trap of the filter in the real Envoy: its request fails, and the next request is checked by a new VM.
//! Follows `failure_policy` in `envoy/filter.yaml`. The trap is provoked by Envoy's `capability_restriction_config`: a host
//! call that is not on the list fails, and the proxy-wasm SDK panics on a failed call.

use std::time::Duration;

use http::{Method, Request, StatusCode};
use serde_json::{Map, Value, json};
use tests::envoy::Envoy;
use tests::filter_wasm::filter_wasm;
use tests::http::{Body, BufferedResponse, DEADLINE, Version, empty, get, with};
use tests::upstream::{Behavior, Upstream};
use tests::wasm_host::FilterModule;
use tokio::time::{sleep, timeout};

use crate::stack::{GUARDED, assert_error, keyed_get, start_with};

/// The call that sets a response header. The filter makes it for pages of an allowed origin only.
const SET_HEADER: &str = "proxy_replace_header_map_value";

const PAGE: &str = "https://app.example";

/// The line of `filter.yaml` that allows every call but `withheld`.
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

/// An edge without one of the filter's calls.
async fn start_without(withheld: &str) -> (Upstream, Envoy) {
    let policy = "failure_policy: FAIL_RELOAD";
    start_with(Behavior::Echo, |options| {
        options
            .filter("cors", json!({"allowed_origins": [PAGE]}))
            .replace_in_filter(
                policy,
                &format!("{policy}\n      {}", restriction(withheld)),
            )
    })
    .await
}

async fn send(envoy: &Envoy, version: Version, request: Request<Body>) -> BufferedResponse {
    let answer = envoy.connect(version).await.send(request).await;
    answer.expect("Envoy answers")
}

/// The first response to an unauthenticated request that is not a 503; Envoy sends 503 during the back-off of the reload.
async fn answer_of_the_next_filter(envoy: &Envoy, version: Version) -> BufferedResponse {
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

/// Requests whose response headers the filter cannot set, so that it traps.
fn provoking() -> [Request<Body>; 4] {
    let preflight = with(
        empty(Method::OPTIONS, GUARDED),
        "access-control-request-method",
        "GET",
    );
    [keyed_get(GUARDED), get(GUARDED), preflight, get("/verify")]
        .map(|request| with(request, "origin", PAGE))
}

#[tokio::test]
async fn request_after_a_trap_is_guarded() {
    let (upstream, envoy) = start_without(SET_HEADER).await;
    let mut reloads = 0;
    for version in [Version::H1, Version::H2] {
        for request in provoking() {
            assert_eq!(send(&envoy, version, keyed_get(GUARDED)).await.status, 200);
            let trapped = send(&envoy, version, request).await;
            assert_error(&trapped, 503, "server_error", "codex_unavailable");
            let passed = upstream.requests().len();
            let answer = answer_of_the_next_filter(&envoy, version).await;
            assert_error(&answer, 401, "authentication_error", "invalid_api_key");
            assert_eq!(upstream.requests().len(), passed);
            reloads += 1;
            assert_eq!(
                envoy.stat("wasm.codex_edge.vm_reload_success").await,
                reloads
            );
        }
    }
}

#[tokio::test]
async fn unauthenticated_client_that_provokes_traps_is_never_forwarded() {
    let (upstream, envoy) = start_without(SET_HEADER).await;
    let mut traps = 0;
    for _ in 0..50 {
        for request in [with(get(GUARDED), "origin", PAGE), get(GUARDED)] {
            let answer = send(&envoy, Version::H1, request).await;
            assert!([401, 503].contains(&answer.status.as_u16()), "{answer:?}");
            traps += usize::from(answer.status == 503);
        }
        sleep(Duration::from_millis(10)).await;
    }
    assert!(traps > 0 && upstream.requests().is_empty(), "{traps}");
    assert!(envoy.stat("wasm.codex_edge.vm_reload_success").await > 0);
}

/// Envoy encodes its own 503 after a trap as a gRPC 200 without a body, and the filter, with its VM gone, cannot undo it.
/// A proxy that asks `/verify` must therefore not forward `content-type`, or must treat a `grpc-status` as a rejection.
#[tokio::test]
async fn trap_on_a_grpc_request_is_a_grpc_error_without_identity() {
    let (_upstream, envoy) = start_without(SET_HEADER).await;
    for version in [Version::H1, Version::H2] {
        let request = with(get("/verify"), "content-type", "application/grpc");
        let answer = send(&envoy, version, with(request, "origin", PAGE)).await;
        let unavailable = answer
            .headers
            .get("grpc-status")
            .map(|status| status.as_bytes());
        assert_eq!(unavailable, Some(&b"14"[..]), "{answer:?}");
        assert_eq!(answer.headers.get("x-codex-edge-client"), None);
        assert!(answer.body.is_empty(), "{answer:?}");
        answer_of_the_next_filter(&envoy, version).await;
    }
}
