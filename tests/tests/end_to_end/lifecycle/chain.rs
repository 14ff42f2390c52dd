//! What only the whole chain shows: who is told what, and what happens when a part of it is gone.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;
use tests::http::{Version, bearer, get, post, with};
use tests::sidecar::wait_until_gone;
use tests::sse::Events;

use crate::stack::{KEY, Stack, streamed_chat};

/// A client that leaves ends its turn within this time.
const AT_ONCE: Duration = Duration::from_secs(1);

#[tokio::test]
async fn the_first_frame_comes_before_the_model_has_spoken() {
    let stack = Stack::start().await;
    for (version, round) in [(Version::H1, "one"), (Version::H2, "two")] {
        let mut client = stack.connect(version).await;
        let script = json!([{"hold": round}, {"text": "spoken"}]);
        let answer = client.stream(streamed_chat(&script)).await.unwrap();
        assert_eq!(answer.status, 200);
        assert!(answer.headers.contains_key("x-request-id"));
        let mut events = Events::new(answer);
        assert_eq!(
            events.next_json().await["choices"][0]["delta"],
            json!({"role": "assistant"})
        );
        stack.model.release(round);
        assert_eq!(
            events.next_json().await["choices"][0]["delta"],
            json!({"content": "spoken"})
        );
        let rest = events.rest().await.unwrap();
        assert_eq!(rest.last().unwrap(), "data: [DONE]", "{version:?}");
    }
}

#[tokio::test]
async fn a_stranger_reaches_neither_sidecar_nor_model() {
    let stack = Stack::start().await;
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
            let answer = stack.connect(version).await.send(request).await.unwrap();
            assert_eq!(answer.status, 401, "{answer:?}");
            let error = answer.json()["error"].take();
            assert_eq!(
                (&error["type"], &error["code"]),
                (&json!("authentication_error"), &json!("invalid_api_key"))
            );
            assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"api\"");
        }
    }
    assert_eq!(stack.requests_logged().len(), 0);
    assert_eq!(stack.model.requests().len(), 0);
}

/// The same request again; its body is the same for all requests here.
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
async fn the_client_is_known_everywhere_and_its_key_nowhere() {
    let stack = Stack::start().await;
    let request = with(
        streamed_chat(&json!({"text": "Hi."})),
        "x-codex-edge-client",
        "forged",
    );
    let request = with(request, "x-request-id", "a-trace-of-mine");
    let answer = stack
        .connect(Version::H1)
        .await
        .send(request)
        .await
        .unwrap();
    assert_eq!(answer.header("x-request-id"), "a-trace-of-mine");
    let logged = stack
        .envoy
        .access_log_entry(|entry| entry["request_id"] == "a-trace-of-mine")
        .await;
    assert_eq!(logged["client"], "default");
    let line = stack.requests_logged().remove(0);
    assert_eq!(
        (&line["span"]["client"], &line["span"]["id"]),
        (&json!("default"), &json!("a-trace-of-mine"))
    );
    let sent = format!("{:?}", stack.model.requests());
    for (what, text) in [
        ("the sidecar's log", stack.sidecar.log()),
        ("the access log", format!("{:?}", stack.envoy.access_log())),
        ("what the model was sent", sent),
    ] {
        assert!(
            !text.contains(KEY) && !text.contains("forged"),
            "{what}: {text}"
        );
    }
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_turn_at_the_model() {
    let stack = Stack::start().await;
    for (count, version) in [(1, Version::H1), (2, Version::H2)] {
        let script = json!([{"text": "par", "open": true}, {"hold": "for ever"}, {"text": "ty"}]);
        let answer = stack
            .connect(version)
            .await
            .stream(streamed_chat(&script))
            .await
            .unwrap();
        let mut events = Events::new(answer);
        events.next_json().await;
        events.next_json().await;
        drop(events);
        let cut = stack.model.wait_for_disconnects(count, AT_ONCE).await;
        assert!(cut.is_ok(), "{version:?}: the model still speaks");
    }
}

#[tokio::test]
async fn a_sidecar_that_is_killed_ends_its_streams_and_its_children() {
    let mut stack = Stack::start().await;
    let children = stack.sidecar.children();
    let script = json!([{"text": "par", "open": true}, {"hold": "for ever"}, {"text": "ty"}]);
    let mut client = stack.connect(Version::H1).await;
    let mut events = Events::new(client.stream(streamed_chat(&script)).await.unwrap());
    events.next_json().await;
    events.next_json().await;
    stack.sidecar.signal(Signal::SIGKILL);
    assert_eq!(stack.sidecar.wait().await, None);
    assert!(
        events.rest().await.is_err(),
        "a stream that broke off does not look like one that ended"
    );
    wait_until_gone(&children).await;
    let answer = stack
        .connect(Version::H1)
        .await
        .send(streamed_chat(&script))
        .await
        .unwrap();
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(answer.json()["error"]["code"], "codex_unavailable");
    assert!(!answer.header("retry-after").is_empty());
}

#[tokio::test]
async fn filter_and_sidecar_speak_one_error_shape() {
    let stack = Stack::start().await;
    let mut client = stack.connect(Version::H1).await;
    let by_filter = client.send(get("/v1/usage")).await.unwrap().json();
    let mut client = stack.connect(Version::H1).await;
    let by_sidecar = client
        .send(bearer(get("/v1/nothing"), KEY))
        .await
        .unwrap()
        .json();
    let fields = |body: &serde_json::Value| {
        let error = body["error"].as_object().expect("an error");
        let kinds = error
            .iter()
            .map(|(name, value)| (name.clone(), value.is_string()));
        kinds
            .filter(|(name, _)| name != "param")
            .collect::<Vec<_>>()
    };
    assert_eq!(fields(&by_filter), fields(&by_sidecar));
    assert!(by_filter["error"]["param"].is_null() && by_sidecar["error"]["param"].is_null());
}
