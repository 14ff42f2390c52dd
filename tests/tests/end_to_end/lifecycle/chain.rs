//! Properties of the whole chain: immediate streaming, authentication, identity in logs, disconnects, a killed sidecar.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;
use tests::http::{Version, bearer, get, post, with};
use tests::sidecar::wait_until_gone;
use tests::sse::Events;

use crate::stack::{Chain, KEY, streamed_chat};

/// Deadline for the end of a turn after its client has disconnected.
const AT_ONCE: Duration = Duration::from_secs(1);

#[tokio::test]
async fn first_chunk_arrives_before_the_answer_is_complete() {
    let chain = Chain::start().await;
    for (version, round) in [(Version::H1, "one"), (Version::H2, "two")] {
        let mut client = chain.connect(version).await;
        let script = json!([{"text": "spo", "open": true}, {"hold": round}, {"text": "ken"}]);
        let response = client.stream(streamed_chat(&script)).await.unwrap();
        assert_eq!(response.status, 200);
        assert!(response.headers.contains_key("x-request-id"));
        let mut events = Events::new(response);
        assert_eq!(
            events.next_json().await["choices"][0]["delta"],
            json!({"role": "assistant"})
        );
        assert_eq!(
            events.next_json().await["choices"][0]["delta"],
            json!({"content": "spo"})
        );
        chain.model.release(round);
        assert_eq!(
            events.next_json().await["choices"][0]["delta"],
            json!({"content": "ken"})
        );
        let rest = events.rest().await.unwrap();
        assert_eq!(rest.last().unwrap(), "data: [DONE]", "{version:?}");
    }
}

#[tokio::test]
async fn unauthenticated_requests_reach_neither_sidecar_nor_model() {
    let chain = Chain::start().await;
    let chat = || {
        post(
            "/v1/chat/completions",
            r#"{"messages":[{"role":"user","content":"hi"}]}"#,
        )
    };
    for request in [
        chat(),
        bearer(chat(), "wrong"),
        with(chat(), "authorization", &format!("Basic {KEY}")),
        with(chat(), "x-codex-edge-client", "default"),
        bearer(with(get("/v1/usage"), "x-codex-edge-admin", "true"), ""),
    ] {
        for version in [Version::H1, Version::H2] {
            let request = clone(&request);
            let response = chain.connect(version).await.send(request).await.unwrap();
            assert_eq!(response.status, 401, "{response:?}");
            let error = response.json()["error"].take();
            assert_eq!(
                (&error["type"], &error["code"]),
                (&json!("authentication_error"), &json!("invalid_api_key"))
            );
            assert_eq!(response.header("www-authenticate"), "Bearer realm=\"api\"");
        }
    }
    assert_eq!(chain.requests_logged().len(), 0);
    assert_eq!(chain.model.requests().len(), 0);
}

/// A copy of a request. The copy's body is the one body that all requests here have.
fn clone(request: &http::Request<tests::http::Body>) -> http::Request<tests::http::Body> {
    let mut again = post(
        request.uri().path(),
        r#"{"messages":[{"role":"user","content":"hi"}]}"#,
    );
    *again.method_mut() = request.method().clone();
    *again.headers_mut() = request.headers().clone();
    again
}

#[tokio::test]
async fn client_id_is_logged_everywhere_and_its_key_nowhere() {
    let chain = Chain::start().await;
    let request = with(
        with(
            streamed_chat(&json!({"text": "Hi."})),
            "x-codex-edge-client",
            "forged",
        ),
        "x-request-id",
        "a-trace-of-mine",
    );
    let response = chain
        .connect(Version::H1)
        .await
        .send(request)
        .await
        .unwrap();
    assert_eq!(response.header("x-request-id"), "a-trace-of-mine");
    let logged = chain
        .envoy
        .access_log_entry(|entry| entry["request_id"] == "a-trace-of-mine")
        .await;
    assert_eq!(logged["client"], "default");
    let line = chain.requests_logged().remove(0);
    assert_eq!(
        (&line["span"]["client"], &line["span"]["id"]),
        (&json!("default"), &json!("a-trace-of-mine"))
    );
    let sent = format!("{:?}", chain.model.requests());
    for (place, text) in [
        ("the sidecar's log", chain.sidecar.log()),
        ("the access log", format!("{:?}", chain.envoy.access_log())),
        ("the model's requests", sent),
    ] {
        assert!(
            !text.contains(KEY) && !text.contains("forged"),
            "{place}: {text}"
        );
    }
}

#[tokio::test]
async fn client_disconnect_interrupts_the_turn_at_the_model() {
    let chain = Chain::start().await;
    for (count, version) in [(1, Version::H1), (2, Version::H2)] {
        let script = json!([{"text": "par", "open": true}, {"hold": "for ever"}, {"text": "ty"}]);
        let response = chain
            .connect(version)
            .await
            .stream(streamed_chat(&script))
            .await
            .unwrap();
        let mut events = Events::new(response);
        events.next_json().await;
        events.next_json().await;
        drop(events);
        let cut = chain.model.wait_for_disconnects(count, AT_ONCE).await;
        assert!(
            cut.is_ok(),
            "{version:?}: Codex still reads the model's response"
        );
    }
}

#[tokio::test]
async fn killed_sidecar_ends_its_streams_and_children() {
    let mut chain = Chain::start().await;
    let children = chain.sidecar.children();
    let script = json!([{"text": "par", "open": true}, {"hold": "for ever"}, {"text": "ty"}]);
    let mut client = chain.connect(Version::H1).await;
    let mut events = Events::new(client.stream(streamed_chat(&script)).await.unwrap());
    events.next_json().await;
    events.next_json().await;
    chain.sidecar.signal(Signal::SIGKILL);
    assert_eq!(chain.sidecar.wait().await, None);
    assert!(
        events.rest().await.is_err(),
        "a cut stream ends with a transport error"
    );
    wait_until_gone(&children).await;
    let response = chain
        .connect(Version::H1)
        .await
        .send(streamed_chat(&script))
        .await
        .unwrap();
    assert_eq!(response.status, 503, "{response:?}");
    assert_eq!(response.json()["error"]["code"], "codex_unavailable");
    assert!(!response.header("retry-after").is_empty());
}

#[tokio::test]
async fn filter_and_sidecar_share_one_error_shape() {
    let chain = Chain::start().await;
    let mut client = chain.connect(Version::H1).await;
    let by_filter = client.send(get("/v1/usage")).await.unwrap().json();
    let mut client = chain.connect(Version::H1).await;
    let by_sidecar = client
        .send(bearer(get("/v1/nothing"), KEY))
        .await
        .unwrap()
        .json();
    let fields = |body: &serde_json::Value| {
        let error = body["error"]
            .as_object()
            .expect("the body has an error object");
        error
            .iter()
            .map(|(name, value)| (name.clone(), value.is_string()))
            .filter(|(name, _)| name != "param")
            .collect::<Vec<_>>()
    };
    assert_eq!(fields(&by_filter), fields(&by_sidecar));
    assert!(by_filter["error"]["param"].is_null() && by_sidecar["error"]["param"].is_null());
}
