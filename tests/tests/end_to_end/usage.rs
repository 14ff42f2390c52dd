//! Usage through Envoy: whose key sees what, and one id for a request in its answer, the logs and its record.

use http::Request;
use serde_json::{Value, json};
use tests::http::{Body, Version, bearer, get, post, with};

use crate::stack::Stack;

fn chat(key: &str) -> Request<Body> {
    let script = json!([{"text": "x"}, {"usage": {"input_tokens": 10, "output_tokens": 5}}]);
    let message = json!({"role": "user", "content": format!("[[model:{script}]]")});
    let body = json!({"model": "codex-5-low", "messages": [message]});
    bearer(post("/v1/chat/completions", body.to_string()), key)
}

#[tokio::test]
async fn a_key_sees_its_own_usage_and_an_admin_key_all() {
    let keys = json!([
        {"id": "alice", "key": "sk-alice"},
        {"id": "bob", "key": "sk-bob"},
        {"id": "root", "key": "sk-root", "admin": true},
    ]);
    let stack = Stack::start_with(|options| options.filter("keys", keys)).await;
    let mut client = stack.connect(Version::H1).await;
    for key in ["sk-alice", "sk-bob", "sk-bob"] {
        let answer = client.send(chat(key)).await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    for (path, key, status, requests) in [
        ("/v1/usage", "sk-alice", 200, 1),
        ("/v1/usage", "sk-bob", 200, 2),
        ("/v1/usage?client=bob", "sk-alice", 403, 0),
        ("/v1/usage", "sk-root", 200, 3),
        ("/v1/usage?client=bob", "sk-root", 200, 2),
        ("/v1/usage", "sk-nobody", 401, 0),
    ] {
        // A client that calls itself an administrator is not believed.
        let claims = with(get(path), "x-codex-edge-admin", "true");
        let claims = with(claims, "x-codex-edge-client", "bob");
        let answer = client.send(bearer(claims, key)).await.unwrap();
        assert_eq!(answer.status, status, "{path} with {key}: {answer:?}");
        if status == 200 {
            let sums = answer.json();
            assert_eq!(sums["requests"], requests, "{path} with {key}: {sums}");
            assert_eq!(
                sums["total_tokens"],
                requests * 15,
                "{path} with {key}: {sums}"
            );
        }
    }
    let refused = client
        .send(bearer(post("/v1/usage", ""), "sk-alice"))
        .await
        .unwrap();
    assert_eq!(
        (refused.status.as_u16(), refused.header("allow")),
        (405, "GET, OPTIONS")
    );
}

#[tokio::test]
async fn one_id_leads_from_the_answer_to_the_logs_and_the_record() {
    let keys = json!([{"id": "alice", "key": "sk-alice"}]);
    let stack = Stack::start_with(|options| options.filter("keys", keys)).await;
    let answer = stack
        .connect(Version::H2)
        .await
        .send(chat("sk-alice"))
        .await
        .unwrap();
    let id = answer.header("x-request-id").to_owned();
    assert!(!id.is_empty(), "{answer:?}");
    let raw = bearer(get("/v1/usage/raw?limit=1"), "sk-alice");
    let records = stack
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
        (&json!("codex-5-low"), &json!("gpt-5"))
    );
    let of_it = |entry: &Value| entry["request_id"] == id.as_str();
    let entry = stack.envoy.access_log_entry(of_it).await;
    assert_eq!(entry["client"], "alice");
    let logged = stack.requests_logged();
    assert!(
        logged.iter().any(|line| line["span"]["id"] == id.as_str()),
        "{logged:?}"
    );
}
