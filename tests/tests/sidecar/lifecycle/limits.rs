//! How many turns there may be at once, and what becomes of those whose client leaves.

use serde_json::json;
use tests::http::post;

use crate::stack::{SOON, ask, assert_error, chat, start_with, stream};

#[tokio::test]
async fn a_client_that_leaves_ends_its_turn_and_frees_its_slot() {
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
        .expect("a stream's turn is interrupted");
    let mut client = sidecar.connect().await;
    let request = chat(&endless, &json!({}));
    let gathered = async { client.send(request).await };
    tokio::select! {
        answer = gathered => panic!("it never ends: {answer:?}"),
        begun = model.wait_for_requests(2, SOON) => drop(begun.expect("it has begun")),
    }
    drop(client);
    model
        .wait_for_disconnects(2, SOON)
        .await
        .expect("a gathered turn is interrupted");
    assert_eq!(
        ask(&sidecar, json!({"text": "Free."}), json!({}))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn a_client_that_leaves_leaves_its_turn_running_when_told_so() {
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
    let refused = ask(&sidecar, json!({"text": "x"}), json!({})).await;
    assert_error(&refused, 429, "concurrency_exceeded");
    assert!(!refused.header("retry-after").is_empty(), "{refused:?}");
    assert!(!model.requests()[0].cut_by_client());
    model.release("end");
    let freed = async {
        while ask(&sidecar, json!({"text": "x"}), json!({})).await.status != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, freed)
        .await
        .expect("the slot is free when the turn is over");
}

#[tokio::test]
async fn who_finds_no_slot_waits_and_who_finds_no_place_is_refused() {
    let small = |options: tests::sidecar::SidecarOptions| {
        options
            .env("PROXY_SSE_MAX_CONCURRENCY", "1")
            .env("PROXY_QUEUE_MAX", "1")
            .env("PROXY_QUEUE_TIMEOUT_MS", "20000")
    };
    let (model, sidecar) = start_with(small).await;
    let mut first = stream(&sidecar, json!([{"hold": "end"}, {"text": "one"}])).await;
    first.next_json().await;
    let ask_one = async |text: &str| {
        let answer = ask(&sidecar, json!({"text": text}), json!({})).await;
        if answer.status == 429 {
            assert_error(&answer, 429, "concurrency_exceeded");
            model.release("end"); // Whoever waits gets the slot now.
        }
        answer.status.as_u16()
    };
    let mut answers = tokio::join!(ask_one("two"), ask_one("three"));
    if answers.0 > answers.1 {
        answers = (answers.1, answers.0);
    }
    assert_eq!(answers, (200, 429), "one finds a place in the queue");
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

#[tokio::test]
async fn many_turns_share_a_worker_and_no_text_goes_astray() {
    const CLIENTS: usize = 24;
    let (_model, sidecar) =
        start_with(|options| options.env("PROXY_SSE_MAX_CONCURRENCY", "0")).await;
    let asking = (0..CLIENTS).map(|client| {
        let canary = format!("canary-{client}-").repeat(20);
        let sidecar = &sidecar;
        async move {
            let script = json!({"text": canary.clone(), "delta_chars": 7, "delay_ms": 1});
            let answer = ask(sidecar, script, json!({})).await.json();
            assert_eq!(answer["choices"][0]["message"]["content"], canary);
        }
    });
    futures_util::future::join_all(asking).await;
    assert_eq!(sidecar.children().len(), 1);
}

#[tokio::test]
async fn a_prompt_over_the_operators_limit_is_refused_before_it_takes_a_slot() {
    let (model, sidecar) = start_with(|options| options.env("PROXY_MAX_PROMPT_TOKENS", "10")).await;
    let mut client = sidecar.connect().await;
    for (path, param) in [
        ("/v1/chat/completions", "messages"),
        ("/v1/completions", "prompt"),
    ] {
        for (chars, status) in [(40, 200), (41, 400)] {
            let text = "é".repeat(chars);
            let body = json!({"model": "codex-5", "messages": [{"role": "user", "content": &text}],
                "prompt": &text,
            });
            let answer = client.send(post(path, body.to_string())).await.unwrap();
            assert_eq!(answer.status, status, "{path} {chars}: {answer:?}");
            if status == 400 {
                assert_error(&answer, 400, "context_length_exceeded");
                assert_eq!(answer.json()["error"]["param"], param);
            }
        }
    }
    assert_eq!(model.requests().len(), 2);
}
