//! Usage through Envoy: the access of each key, and one request id in the response, the logs and the usage record.

use http::Request;
use serde_json::{Value, json};
use tests::codex::models::default_model;
use tests::http::{Body, Version, bearer, get, post, with};

use crate::stack::Chain;

fn chat(key: &str) -> Request<Body> {
    let script = json!([{"text": "x"}, {"usage": {"input_tokens": 10, "output_tokens": 5}}]);
    let message = json!({"role": "user", "content": format!("[[model:{script}]]")});
    let body = json!({"model": "codex-5-low", "messages": [message]});
    bearer(post("/v1/chat/completions", body.to_string()), key)
}

#[tokio::test]
async fn key_sees_its_own_usage_and_an_admin_key_all() {
    let keys = json!([
        {"id": "alice", "key": "sk-alice"},
        {"id": "bob", "key": "sk-bob"},
        {"id": "root", "key": "sk-root", "admin": true},
    ]);
    let chain = Chain::start_with(|options| options.filter("keys", keys)).await;
    let mut client = chain.connect(Version::H1).await;
    for key in ["sk-alice", "sk-bob", "sk-bob"] {
        let response = client.send(chat(key)).await.unwrap();
        assert_eq!(response.status, 200, "{response:?}");
    }
    for (path, key, status, requests) in [
        ("/v1/usage", "sk-alice", 200, 1),
        ("/v1/usage", "sk-bob", 200, 2),
        ("/v1/usage?client=bob", "sk-alice", 403, 0),
        ("/v1/usage", "sk-root", 200, 3),
        ("/v1/usage?client=bob", "sk-root", 200, 2),
        ("/v1/usage", "sk-unknown", 401, 0),
    ] {
        // The filter must replace identity headers that the client sends.
        let forged = with(
            with(get(path), "x-codex-edge-admin", "true"),
            "x-codex-edge-client",
            "bob",
        );
        let response = client.send(bearer(forged, key)).await.unwrap();
        assert_eq!(response.status, status, "{path} with {key}: {response:?}");
        if status == 200 {
            let totals = response.json();
            assert_eq!(totals["requests"], requests, "{path} with {key}: {totals}");
            assert_eq!(
                totals["total_tokens"],
                requests * 15,
                "{path} with {key}: {totals}"
            );
        }
    }
    let rejected = client
        .send(bearer(post("/v1/usage", ""), "sk-alice"))
        .await
        .unwrap();
    assert_eq!(
        (rejected.status.as_u16(), rejected.header("allow")),
        (405, "GET, OPTIONS")
    );
}

#[tokio::test]
async fn request_id_is_the_same_in_response_logs_and_record() {
    let keys = json!([{"id": "alice", "key": "sk-alice"}]);
    let chain = Chain::start_with(|options| options.filter("keys", keys)).await;
    let response = chain
        .connect(Version::H2)
        .await
        .send(chat("sk-alice"))
        .await
        .unwrap();
    let id = response.header("x-request-id").to_owned();
    assert!(!id.is_empty(), "{response:?}");
    let raw = bearer(get("/v1/usage/raw?limit=1"), "sk-alice");
    let records = chain
        .connect(Version::H1)
        .await
        .send(raw)
        .await
        .unwrap()
        .json();
    let record = &records["events"][0];
    assert_eq!(
        (&record["request_id"], &record["client"]),
        (&json!(id), &json!("alice"))
    );
    assert_eq!(
        (&record["requested_model"], &record["effective_model"]),
        (&json!("codex-5-low"), &json!(default_model()))
    );
    let has_id = |entry: &Value| entry["request_id"] == id.as_str();
    let entry = chain.envoy.access_log_entry(has_id).await;
    assert_eq!(entry["client"], "alice");
    let logged = chain.requests_logged();
    assert!(
        logged.iter().any(|line| line["span"]["id"] == id.as_str()),
        "{logged:?}"
    );
}
