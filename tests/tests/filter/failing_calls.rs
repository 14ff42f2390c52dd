//! A host call that fails, each in turn, since the start or in the middle: nobody gets in, and nobody is taken for another.
//! Envoy's `capability_restriction_config`, under which a call that is not allowed answers `InternalFailure`.

use serde_json::json;
use tests::filter_wasm::filter_wasm;
use tests::wasm_host::{FilterModule, Host, Message, Request};

use crate::gateway::{ALICE, base_with, builder, chat, good_chat, upstream};

const PAGE: &str = "https://app.example";

/// Two hosts without this call: one that never had it, if the filter starts there, and one that has lost it.
fn hosts_without(call: &str) -> Vec<Host> {
    let one_request = json!({"requests": 1, "window_ms": 60_000});
    let config = base_with(json!({
        "hold_headers": true,
        "rate_limit": one_request,
        "unauthenticated_rate_limit": one_request,
        "cors": {"allowed_origins": [PAGE]},
    }));
    let builder = || builder(&config).hold_headers(true);
    let mut losing = builder().start().expect("nothing fails yet");
    losing.worker(0).withhold(call);
    let never_had = builder().withhold(call).start();
    [Ok(losing), never_had].into_iter().flatten().collect()
}

/// What the upstream gets of these requests.
fn forwarded(host: &mut Host, requests: impl IntoIterator<Item = Request>) -> Vec<Message> {
    let mut seen = Vec::new();
    for request in requests {
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
fn nobody_gets_in_by_a_call_that_fails() {
    let imports = FilterModule::load(filter_wasm()).unwrap().imports();
    let calls: Vec<_> = imports
        .iter()
        .filter(|name| name.starts_with("proxy_"))
        .collect();
    assert!(calls.len() > 10, "{calls:?}");
    for call in calls {
        for mut host in hosts_without(call) {
            let strangers = [
                good_chat().without("authorization"),
                Request::get("/v1/usage"),
            ];
            let seen = forwarded(&mut host, strangers.map(forged));
            assert!(seen.is_empty(), "{call}: {seen:?}");
            let bad = chat(r#"{"model":"other"}"#).header("authorization", ALICE);
            let seen = forwarded(&mut host, [forged(bad)]);
            assert!(seen.is_empty(), "{call}: {seen:?}");
        }
        for mut host in hosts_without(call) {
            let seen = forwarded(&mut host, [0; 5].map(|_| forged(good_chat())));
            assert!(
                seen.len() <= 1,
                "{call}: a rate of one, and {} passed",
                seen.len()
            );
            for message in seen {
                let named: Vec<_> = message
                    .headers
                    .iter()
                    .filter(|(name, _)| {
                        name.starts_with(b"x-codex-edge-") || *name == b"authorization"
                    })
                    .collect();
                let alice = (&b"x-codex-edge-client"[..], &b"alice"[..]);
                assert_eq!(named, [alice], "{call}");
            }
        }
    }
}

#[test]
fn a_configuration_that_cannot_be_read_is_refused() {
    for call in [
        "proxy_get_buffer_bytes",
        "proxy_get_current_time_nanoseconds",
    ] {
        let config = base_with(json!({})).to_string();
        let error = builder(&json!(config)).withhold(call).start().unwrap_err();
        assert!(
            error.to_string().contains("configuration refused"),
            "{call}: {error}"
        );
    }
}
