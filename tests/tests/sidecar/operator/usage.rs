//! Usage of turns: records, totals, and the access of clients and administrators to them.

use http::Request;
use serde_json::{Value, json};
use tests::codex::models::default_model;
use tests::http::{Body, BufferedResponse, get, with};
use tests::sidecar::Sidecar;

use crate::stack::{SOON, assert_error, chat, start, start_with};

async fn send(sidecar: &Sidecar, request: Request<Body>) -> BufferedResponse {
    let mut client = sidecar.connect().await;
    client.send(request).await.expect("a response arrives")
}

/// Requests `path` with the headers that the filter sets for `client`.
async fn usage(sidecar: &Sidecar, path: &str, client: &str) -> BufferedResponse {
    send(sidecar, with(get(path), "x-codex-edge-client", client)).await
}

fn chat_of(client: &str, script: &Value, more: &Value) -> Request<Body> {
    let request = with(chat(script, more), "x-codex-edge-client", client);
    with(request, "x-request-id", &format!("{client}-1"))
}

async fn records(sidecar: &Sidecar, client: &str) -> Vec<Value> {
    let response = usage(sidecar, "/v1/usage/raw", client).await.json();
    let events = response["events"]
        .as_array()
        .expect("the body has records")
        .clone();
    assert_eq!(response["count"], events.len());
    events
}

#[tokio::test]
async fn each_turn_leaves_a_record_with_the_reported_usage() {
    let (_model, sidecar) = start().await;
    let script = json!([
        {"text": "Four words of it."},
        {"usage": {"input_tokens": 1234, "cached_tokens": 1000, "output_tokens": 56, "reasoning_tokens": 7}},
    ]);
    for stream in [false, true] {
        let client = format!("streams-{stream}");
        let request = chat_of(&client, &script, &json!({"stream": stream}));
        assert_eq!(send(&sidecar, request).await.status, 200);
        let records = records(&sidecar, &client).await;
        let [record] = records.as_slice() else {
            panic!("one record expected for one turn: {records:?}");
        };
        for (field, expected) in [
            ("request_id", json!(format!("{client}-1"))),
            ("client", json!(client)),
            ("route", json!("/v1/chat/completions")),
            ("requested_model", json!("codex-5")),
            ("effective_model", json!(default_model())),
            ("stream", json!(stream)),
            ("prompt_tokens", json!(1234)),
            ("cached_tokens", json!(1000)),
            ("completion_tokens", json!(56)),
            ("reasoning_tokens", json!(7)),
            ("total_tokens", json!(1290)),
            ("token_source", json!("reported")),
            ("status", json!(200)),
            ("finish_reason", json!("stop")),
            ("error", Value::Null),
        ] {
            assert_eq!(record[field], expected, "{field} of {record}");
        }
        let first = record["time_to_first_token_ms"].as_u64();
        assert!(first <= record["duration_ms"].as_u64() && first.is_some());
    }
}

#[tokio::test]
async fn failed_disconnected_and_rejected_turns_have_distinct_records() {
    let (model, sidecar) = start_with(|options| {
        options
            .env("PROXY_SSE_MAX_CONCURRENCY", "1")
            .env("PROXY_QUEUE_TIMEOUT_MS", "2000")
    })
    .await;
    let failing =
        json!({"status": 400, "error": {"type": "invalid_request_error", "message": "no"}});
    send(&sidecar, chat_of("fails", &failing, &json!({}))).await;
    send(
        &sidecar,
        chat_of("fails", &failing, &json!({"stream": true})),
    )
    .await;
    let later = json!([{"text": "par", "open": true}, {"cut": "abort"}]);
    send(&sidecar, chat_of("fails", &later, &json!({"stream": true}))).await;

    let open = json!([{"text": "par", "open": true}, {"hold": "end"}, {"text": "ty"}]);
    let mut client = sidecar.connect().await;
    let stream = client.stream(chat_of("leaves", &open, &json!({"stream": true})));
    let mut events = tests::sse::Events::new(stream.await.expect("a response arrives"));
    events.next_json().await;
    events.next_json().await;
    let rejected = send(&sidecar, chat_of("late", &open, &json!({}))).await;
    assert_error(&rejected, 429, "concurrency_exceeded");
    drop((events, client));
    model
        .wait_for_disconnects(1, SOON)
        .await
        .expect("the turn is interrupted");

    for (client, expected) in [
        (
            "fails",
            vec![
                (400, "invalid_request_error", "none"),
                (400, "invalid_request_error", "none"),
                (200, "codex_failed", "estimated"),
            ],
        ),
        ("leaves", vec![(200, "client_left", "estimated")]),
        ("late", vec![(429, "concurrency_exceeded", "none")]),
    ] {
        let records = records(&sidecar, client).await;
        let seen: Vec<_> = records
            .iter()
            .map(|record| {
                assert_eq!(record["finish_reason"], Value::Null, "{record}");
                let text = |field: &str| record[field].as_str().unwrap_or_default();
                (
                    record["status"].as_u64().unwrap_or_default(),
                    text("error"),
                    text("token_source"),
                )
            })
            .collect();
        assert_eq!(seen, expected, "{client}");
    }
    let totals = |client: &'static str| usage(&sidecar, "/v1/usage", client);
    assert_eq!(totals("fails").await.json()["errors"], 3);
    assert_eq!(totals("leaves").await.json()["errors"], 0);
    assert_eq!(totals("late").await.json()["errors"], 1);
}

#[tokio::test]
async fn client_sees_its_own_usage_and_an_admin_all() {
    let (_model, sidecar) = start().await;
    let script = json!([{"text": "x"}, {"usage": {"input_tokens": 10, "output_tokens": 5}}]);
    for client in ["alice", "bob", "bob"] {
        assert_eq!(
            send(&sidecar, chat_of(client, &script, &json!({})))
                .await
                .status,
            200
        );
    }
    let totals = async |path: &str, client: &str, admin: bool| {
        let mut request = with(get(path), "x-codex-edge-client", client);
        if admin {
            request = with(request, "x-codex-edge-admin", "true");
        }
        send(&sidecar, request).await
    };
    for (path, client, admin, requests) in [
        ("/v1/usage", "alice", false, 1),
        ("/v1/usage/", "bob", false, 2),
        ("/v1/usage", "carol", false, 0),
        ("/v1/usage?client=bob", "bob", false, 2),
        ("/v1/usage", "root", true, 3),
        ("/v1/usage?client=alice", "root", true, 1),
        (
            "/v1/usage?start=2020-01-01&end=2021-01-01T00%3A00%3A00Z",
            "root",
            true,
            0,
        ),
        ("/v1/usage?start=1600000000000", "root", true, 3),
    ] {
        let response = totals(path, client, admin).await.json();
        assert_eq!(
            response["requests"], requests,
            "{path} as {client}: {response}"
        );
        assert_eq!(
            response["total_tokens"],
            requests * 15,
            "{path} as {client}: {response}"
        );
    }
    let grouped = totals("/v1/usage?group=day", "root", true).await.json();
    let buckets = grouped["buckets"].as_array().unwrap();
    let in_buckets: u64 = buckets
        .iter()
        .filter_map(|bucket| bucket["requests"].as_u64())
        .sum();
    assert_eq!(in_buckets, 3, "{grouped}");
    assert!(
        buckets[0]["ts"].as_str().unwrap().ends_with("T00:00:00Z"),
        "{grouped}"
    );

    let foreign = totals("/v1/usage?client=alice", "bob", false).await;
    assert_error(&foreign, 403, "permission_denied");
    let wrong = totals("/v1/usage?group=week", "bob", false).await;
    assert_error(&wrong, 400, "invalid_request_error");
    assert_eq!(wrong.json()["error"]["param"], "group");
    let last = totals("/v1/usage/raw?limit=1", "root", true).await.json();
    assert_eq!(
        (&last["count"], &last["events"][0]["client"]),
        (&json!(1), &json!("bob"))
    );
}

#[tokio::test]
async fn usage_survives_a_killed_sidecar() {
    let (_model, mut sidecar) = start().await;
    let script = json!([{"text": "x"}, {"usage": {"input_tokens": 10, "output_tokens": 5}}]);
    for round in 1..=2 {
        assert_eq!(
            send(&sidecar, chat_of("alice", &script, &json!({})))
                .await
                .status,
            200
        );
        let response = usage(&sidecar, "/v1/usage", "alice").await.json();
        assert_eq!(response["requests"], round, "{response}");
        sidecar.signal(nix::sys::signal::Signal::SIGKILL);
        sidecar.wait().await;
        // A kill during a write leaves an incomplete last line.
        let log = sidecar.dir().join("codex-home/usage.ndjson");
        let mut content = std::fs::read(&log).unwrap();
        content.extend(br#"{"ts":17"#);
        std::fs::write(&log, content).unwrap();
        sidecar.restart();
        sidecar.wait_until_ready().await;
    }
    assert_eq!(records(&sidecar, "alice").await.len(), 2);
}

#[tokio::test]
async fn test_endpoint_reports_running_turns_when_enabled() {
    let (_model, sidecar) = start().await;
    assert_error(
        &send(&sidecar, get("/__test/conc")).await,
        404,
        "unknown_url",
    );
    let (_model, sidecar) = start_with(|options| options.env("PROXY_TEST_ENDPOINTS", "true")).await;
    let turns = async || send(&sidecar, get("/__test/conc")).await.json();
    assert_eq!(turns().await, json!({"conc": 0}));
    let held = json!([{"text": "x", "open": true}, {"hold": "for ever"}, {"text": "y"}]);
    let mut events = crate::stack::stream(&sidecar, held).await;
    events.next_json().await;
    assert_eq!(turns().await, json!({"conc": 1}));
}
