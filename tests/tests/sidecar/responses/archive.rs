//! Stored responses that outlive the sidecar, in SQLite, and those of a fleet in Redis.

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::http::{empty, post};
use tests::redis::Redis;
use tests::scripted_model::ScriptedModel;
use tests::sidecar::{Sidecar, SidecarOptions};
use tokio::time::timeout;

use super::client::{create, delete, id, of_client, ok, play, respond, retrieve, send, sent, text};
use crate::stack::{SOON, assert_error, start, start_with};

/// The setting under which responses outlive the sidecar.
const DURABLE: &str = "PROXY_RESPONSES_DURABLE";

/// Kills the sidecar, and starts it again on its home.
async fn kill_and_restart(sidecar: &mut Sidecar) {
    sidecar.signal(Signal::SIGKILL);
    sidecar.wait().await;
    sidecar.restart();
    sidecar.wait_until_ready().await;
}

/// An input that the model answers with `answer`, after the response `previous`.
fn input(answer: &str, previous: &Value) -> Value {
    json!({"input": play(&json!({"text": answer})), "previous_response_id": previous})
}

#[tokio::test]
async fn responses_and_deletions_outlive_sigkill() {
    let (model, mut sidecar) = start_with(|options| options.env(DURABLE, "true")).await;
    let first = respond(&sidecar, input("One.", &Value::Null)).await;
    let second = respond(&sidecar, input("Two.", &first["id"])).await;
    let deleted = respond(&sidecar, input("Three.", &Value::Null)).await;
    let of_ann = of_client(create(input("Ann's.", &Value::Null)), "ann");
    let of_ann = ok(&send(&sidecar, of_ann).await);
    ok(&delete(&sidecar, id(&deleted)).await);
    kill_and_restart(&mut sidecar).await;
    for response in [&first, &second] {
        assert_eq!(&ok(&retrieve(&sidecar, id(response)).await), response);
    }
    for other in [&deleted, &of_ann] {
        let found = retrieve(&sidecar, id(other)).await;
        assert_error(&found, 404, "response_not_found");
    }
    ok(&delete(&sidecar, id(&first)).await);
    let third = respond(&sidecar, input("Four.", &second["id"])).await;
    assert_eq!(text(&third), "Four.");
    let answers: Vec<_> = sent(&model)
        .into_iter()
        .filter(|(role, _)| role == "assistant")
        .collect();
    let expected = ["One.", "Two."].map(|text| ("assistant".to_owned(), text.to_owned()));
    assert_eq!(
        answers, expected,
        "also the items of the response that is deleted"
    );
    kill_and_restart(&mut sidecar).await;
    let gone = retrieve(&sidecar, id(&first)).await;
    assert_error(&gone, 404, "response_not_found");
    assert_eq!(ok(&retrieve(&sidecar, id(&third)).await), third);
}

#[tokio::test]
async fn limits_of_stored_responses_hold_over_a_restart() {
    let (_model, mut sidecar) =
        start_with(|options| options.env(DURABLE, "true").env("PROXY_RESPONSES_MAX", "2")).await;
    let mut responses = Vec::new();
    for answer in ["One.", "Two.", "Three."] {
        responses.push(respond(&sidecar, input(answer, &Value::Null)).await);
        kill_and_restart(&mut sidecar).await;
    }
    let evicted = retrieve(&sidecar, id(&responses[0])).await;
    assert_error(&evicted, 404, "response_not_found");
    for kept in &responses[1..] {
        assert_eq!(&ok(&retrieve(&sidecar, id(kept)).await), kept);
    }
}

#[tokio::test]
async fn response_in_progress_is_unknown_after_sigkill() {
    let (_model, mut sidecar) = start_with(|options| options.env(DURABLE, "true")).await;
    let script = json!([{"hold": "never"}, {"text": "Hi."}]);
    let body = json!({"input": play(&script), "background": true});
    let begun = respond(&sidecar, body).await;
    kill_and_restart(&mut sidecar).await;
    let lost = retrieve(&sidecar, id(&begun)).await;
    assert_error(&lost, 404, "response_not_found");
}

#[tokio::test]
async fn responses_are_in_memory_alone_by_default() {
    let (_model, mut sidecar) = start().await;
    let response = respond(&sidecar, input("One.", &Value::Null)).await;
    kill_and_restart(&mut sidecar).await;
    let lost = retrieve(&sidecar, id(&response)).await;
    assert_error(&lost, 404, "response_not_found");
}

#[tokio::test]
async fn cancel_at_another_replica_ends_the_turn() {
    let redis = Redis::start().await;
    let model = ScriptedModel::start()
        .await
        .expect("a loopback port is free");
    let start = async || {
        let options = SidecarOptions::new(&model).env("PROXY_STATE", &redis.address());
        options.start().await
    };
    let (runner, other) = (start().await, start().await);
    let script = json!([{"text": "Before."}, {"hold": "never"}]);
    let body = json!({"input": play(&script), "background": true});
    let begun = ok(&send(&runner, of_client(create(body), "ann")).await);
    let path = format!("/v1/responses/{}", id(&begun));
    let cancel = |client: &str| of_client(post(&format!("{path}/cancel"), ""), client);
    let shown = async {
        let get = || of_client(empty(http::Method::GET, &path), "ann");
        while send(&other, get()).await.status != 200 {}
    };
    timeout(SOON, shown).await.expect("the replica shows it");
    let foreign = send(&other, cancel("bob")).await;
    assert_error(&foreign, 404, "response_not_found");
    let cancelled = ok(&send(&other, cancel("ann")).await);
    assert_eq!(cancelled["status"], "cancelled", "{cancelled}");
    for sidecar in [&runner, &other] {
        let again = ok(&send(sidecar, cancel("ann")).await);
        assert_eq!(again, cancelled, "a second cancellation changes no field");
    }
}
