//! The limit of concurrent turns, the queue, and turns of a client that disconnects.

use std::pin::pin;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::json;
use tests::http::{BufferedResponse, post, with};
use tests::sidecar::Sidecar;
use tests::sse::Events;

use crate::stack::{SOON, ask, assert_error, chat, start_with, stream};

#[tokio::test]
async fn client_disconnect_interrupts_the_turn_and_frees_its_permit() {
    let one = |options: tests::sidecar::SidecarOptions| {
        options
            .env("PROXY_SSE_MAX_CONCURRENCY", "1")
            .env("PROXY_QUEUE_TIMEOUT_MS", "10000")
    };
    let (model, sidecar) = start_with(one).await;
    let endless = json!([{"text": "par", "open": true}, {"hold": "for ever"}, {"text": "ty"}]);
    let mut events = stream(&sidecar, endless.clone()).await;
    events.next_json().await;
    events.next_json().await;
    drop(events);
    model
        .wait_for_disconnects(1, SOON)
        .await
        .expect("the streamed turn is interrupted");
    let mut client = sidecar.connect().await;
    let request = chat(&endless, &json!({}));
    let buffered = async { client.send(request).await };
    tokio::select! {
        response = buffered => panic!("the turn ended: {response:?}"),
        begun = model.wait_for_requests(2, SOON) => drop(begun.expect("the turn has started")),
    }
    drop(client);
    model
        .wait_for_disconnects(2, SOON)
        .await
        .expect("the buffered turn is interrupted");
    assert_eq!(
        ask(&sidecar, json!({"text": "Free."}), json!({}))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn client_disconnect_keeps_the_turn_running_when_configured() {
    let one = |options: tests::sidecar::SidecarOptions| {
        options
            .env("PROXY_KILL_ON_DISCONNECT", "false")
            .env("PROXY_SSE_MAX_CONCURRENCY", "1")
            .env("PROXY_QUEUE_MAX", "0")
    };
    let (model, sidecar) = start_with(one).await;
    let mut events = stream(
        &sidecar,
        json!([{"text": "par", "open": true}, {"hold": "end"}, {"text": "ty"}]),
    )
    .await;
    events.next_json().await;
    events.next_json().await;
    drop(events);
    let rejected = ask(&sidecar, json!({"text": "x"}), json!({})).await;
    assert_error(&rejected, 429, "concurrency_exceeded");
    assert!(!rejected.header("retry-after").is_empty(), "{rejected:?}");
    assert!(!model.requests()[0].cut_by_client());
    model.release("end");
    let freed = async {
        while ask(&sidecar, json!({"text": "x"}), json!({})).await.status != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, freed)
        .await
        .expect("the permit is free when the turn is over");
}

#[tokio::test]
async fn requests_without_a_permit_are_queued_and_get_429_when_the_queue_is_full() {
    let small = |options: tests::sidecar::SidecarOptions| {
        options
            .env("PROXY_SSE_MAX_CONCURRENCY", "1")
            .env("PROXY_QUEUE_MAX", "1")
            .env("PROXY_QUEUE_TIMEOUT_MS", "20000")
    };
    let (model, sidecar) = start_with(small).await;
    let mut first = stream(
        &sidecar,
        json!([{"text": "o", "open": true}, {"hold": "end"}, {"text": "ne"}]),
    )
    .await;
    first.next_json().await;
    let ask_one = async |text: &str| {
        let response = ask(&sidecar, json!({"text": text}), json!({})).await;
        if response.status == 429 {
            assert_error(&response, 429, "concurrency_exceeded");
            model.release("end"); // The first turn ends, and the queued one gets its permit.
        }
        response.status.as_u16()
    };
    let mut responses = tokio::join!(ask_one("two"), ask_one("three"));
    if responses.0 > responses.1 {
        responses = (responses.1, responses.0);
    }
    assert_eq!(responses, (200, 429), "one request is queued, one rejected");
    assert!(
        first
            .rest()
            .await
            .unwrap()
            .last()
            .unwrap()
            .contains("[DONE]")
    );
}

/// Starts a turn of `client` that streams until the model releases `hold`.
async fn hold_slot(sidecar: &Sidecar, client: &str, hold: &str) -> Events {
    let script = json!([{"text": "o", "open": true}, {"hold": hold}, {"text": "ne"}]);
    let request = chat(&script, &json!({"stream": true}));
    let mut connection = sidecar.connect().await;
    let stream = connection
        .stream(with(request, "x-codex-edge-client", client))
        .await;
    let mut events = Events::new(stream.expect("a response arrives"));
    events.next_json().await;
    events
}

/// Sends a short chat of `client`.
async fn ask_as(sidecar: &Sidecar, client: &str) -> BufferedResponse {
    let request = chat(&json!({"text": "Hi."}), &json!({}));
    let mut connection = sidecar.connect().await;
    let response = connection
        .send(with(request, "x-codex-edge-client", client))
        .await;
    response.expect("a response arrives")
}

#[tokio::test]
async fn client_with_long_turns_leaves_a_slot_to_another_client() {
    let (model, sidecar) = start_with(|options| {
        options
            .env("PROXY_SSE_MAX_CONCURRENCY", "3")
            .env("PROXY_QUEUE_TIMEOUT_MS", "300")
    })
    .await;
    // Known as active from now on.
    assert_eq!(ask_as(&sidecar, "small").await.status, 200);
    let first = hold_slot(&sidecar, "large", "first").await;
    let second = hold_slot(&sidecar, "large", "second").await;
    let refused = ask_as(&sidecar, "large").await;
    assert_error(&refused, 429, "concurrency_exceeded");
    assert_eq!(refused.header("x-codex-edge-limit"), "client-share");
    let message = refused.json()["error"]["message"].to_string();
    assert!(
        message.contains("PROXY_CLIENT_MAX_CONCURRENCY"),
        "{message}"
    );
    for _ in 0..3 {
        assert_eq!(ask_as(&sidecar, "small").await.status, 200);
    }

    let third = hold_slot(&sidecar, "small", "third").await;
    let refused = ask_as(&sidecar, "small").await;
    assert_error(&refused, 429, "concurrency_exceeded");
    assert_eq!(refused.header("x-codex-edge-limit"), "slots");
    for (name, mut events) in [("first", first), ("second", second), ("third", third)] {
        model.release(name);
        assert!(
            events
                .rest()
                .await
                .unwrap()
                .last()
                .unwrap()
                .contains("[DONE]")
        );
    }
}

#[tokio::test]
async fn number_of_turns_of_one_client_can_be_set() {
    let (model, sidecar) = start_with(|options| {
        options
            .env("PROXY_SSE_MAX_CONCURRENCY", "4")
            .env("PROXY_CLIENT_MAX_CONCURRENCY", "1")
            .env("PROXY_QUEUE_MAX", "0")
    })
    .await;
    let mut held = hold_slot(&sidecar, "large", "held").await;
    let refused = ask_as(&sidecar, "large").await;
    assert_error(&refused, 429, "concurrency_exceeded");
    assert_eq!(refused.header("x-codex-edge-limit"), "client-share");
    assert_eq!(ask_as(&sidecar, "small").await.status, 200);
    model.release("held");
    let events = held.rest().await.unwrap();
    assert!(events.last().unwrap().contains("[DONE]"));
}

#[tokio::test]
async fn full_queue_has_a_place_for_another_client() {
    let (model, sidecar) = start_with(|options| {
        options
            .env("PROXY_SSE_MAX_CONCURRENCY", "1")
            .env("PROXY_QUEUE_MAX", "2")
            .env("PROXY_QUEUE_TIMEOUT_MS", "60000")
    })
    .await;
    let mut held = hold_slot(&sidecar, "large", "held").await;
    let mut large: FuturesUnordered<_> = (0..3).map(|_| ask_as(&sidecar, "large")).collect();
    let refused = large.next().await.expect("one of three has no place");
    assert_error(&refused, 429, "concurrency_exceeded");
    assert_eq!(refused.header("x-codex-edge-limit"), "queue");

    let mut small = pin!(ask_as(&sidecar, "small"));
    let displaced = tokio::select! {
        displaced = large.next() => displaced.expect("a request of the larger client gives way"),
        response = &mut small => panic!("the slot is busy: {response:?}"),
    };
    assert_error(&displaced, 429, "concurrency_exceeded");
    assert_eq!(displaced.header("x-codex-edge-limit"), "queue");
    let message = displaced.json()["error"]["message"].to_string();
    assert!(message.contains("PROXY_QUEUE_MAX"), "{message}");

    model.release("held");
    let (rest, small) = tokio::join!(large.next(), small);
    assert_eq!(
        (rest.unwrap().status.as_u16(), small.status.as_u16()),
        (200, 200)
    );
    let events = held.rest().await.unwrap();
    assert!(events.last().unwrap().contains("[DONE]"));
}

#[tokio::test]
async fn concurrent_turns_share_a_worker_and_keep_their_own_text() {
    const CLIENTS: usize = 24;
    let (_model, sidecar) =
        start_with(|options| options.env("PROXY_SSE_MAX_CONCURRENCY", "0")).await;
    let asking = (0..CLIENTS).map(|client| {
        let canary = format!("canary-{client}-").repeat(20);
        let sidecar = &sidecar;
        async move {
            let script = json!({"text": canary.clone(), "delta_chars": 7, "delay_ms": 1});
            let response = ask(sidecar, script, json!({})).await.json();
            assert_eq!(response["choices"][0]["message"]["content"], canary);
        }
    });
    futures_util::future::join_all(asking).await;
    assert_eq!(sidecar.children().len(), 1);
}

#[tokio::test]
async fn prompt_over_the_token_limit_is_rejected_before_the_model_is_asked() {
    let (model, sidecar) = start_with(|options| options.env("PROXY_MAX_PROMPT_TOKENS", "10")).await;
    let mut client = sidecar.connect().await;
    for (path, param) in [
        ("/v1/chat/completions", "messages"),
        ("/v1/completions", "prompt"),
    ] {
        for (chars, status) in [(40, 200), (41, 400)] {
            let text = "é".repeat(chars);
            let body = match param {
                "messages" => {
                    json!({"model": "codex-5", "messages": [{"role": "user", "content": text}]})
                }
                _ => json!({"model": "codex-5", "prompt": text}),
            };
            let response = client.send(post(path, body.to_string())).await.unwrap();
            assert_eq!(response.status, status, "{path} {chars}: {response:?}");
            if status == 400 {
                assert_error(&response, 400, "context_length_exceeded");
                assert_eq!(response.json()["error"]["param"], param);
            }
        }
    }
    assert_eq!(model.requests().len(), 2);
}
