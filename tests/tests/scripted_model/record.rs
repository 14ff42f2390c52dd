//! What the model remembers of its requests, and of clients that leave.
//! Follows the docs of `tests::scripted_model::Recorded`.

use std::io::ErrorKind;
use std::time::Duration;

use serde_json::json;
use tests::http::{get, post};
use tests::scripted_model::Delivery;

use crate::{SOON, begin, body, connect, directive, play, start};

#[tokio::test]
async fn a_request_is_recorded_as_it_came() {
    let model = start().await;
    let sent = body(&directive(&json!({"text": "Hello"}))).to_string();
    let mut client = connect(&model).await;
    client
        .send(post("/v1/responses", sent.clone()))
        .await
        .expect("an answer");
    client
        .send(get("/v1/models?client_version=1"))
        .await
        .expect("an answer");
    let requests = model.requests();
    let [responses, models] = &requests[..] else {
        panic!("two requests came: {requests:?}");
    };
    assert_eq!(
        (responses.method.as_str(), &responses.path[..]),
        ("POST", "/v1/responses")
    );
    assert_eq!(responses.headers["content-type"], "application/json");
    assert_eq!(responses.body.to_string(), sent);
    assert_eq!(responses.body_bytes, sent.len());
    assert_eq!(responses.delivery, Delivery::Done);
    assert_eq!(
        (models.method.as_str(), &models.path[..]),
        ("GET", "/v1/models")
    );
}

#[tokio::test]
async fn a_client_that_leaves_in_the_stream_is_noticed() {
    let model = start().await;
    let (client, stream) = begin(&model, &json!([{"text": "Hello"}, {"hold": "never"}])).await;
    assert_eq!(model.requests()[0].delivery, Delivery::Running);
    drop((client, stream));
    let requests = model
        .wait_for_cut(1, SOON)
        .await
        .expect("the cut is noticed");
    assert!(matches!(requests[0].delivery, Delivery::CutByClient { at } if at >= requests[0].at));
}

#[tokio::test]
async fn a_client_that_leaves_before_the_head_is_noticed() {
    let model = start().await;
    let mut client = connect(&model).await;
    let prompt = directive(&json!([{"hold": "never"}, {"text": "Hello"}]));
    let request = post("/v1/responses", body(&prompt).to_string());
    tokio::select! {
        _ = client.stream(request) => panic!("the head is held"),
        came = model.wait_for_requests(1, SOON) => drop(came.expect("the request comes")),
    }
    drop(client);
    model
        .wait_for_cut(1, SOON)
        .await
        .expect("the cut is noticed");
}

#[tokio::test]
async fn a_cut_by_the_script_is_not_the_clients() {
    let model = start().await;
    play(&model, &json!([{"text": "Hello"}, {"cut": "clean"}])).await;
    let (_client, stream) = begin(&model, &json!([{"text": "Hello"}, {"cut": "abort"}])).await;
    stream.collect().await.expect_err("the stream is cut");
    assert!(
        model
            .requests()
            .iter()
            .all(|request| request.delivery == Delivery::Done)
    );
}

#[tokio::test]
async fn a_wait_ends_at_its_deadline() {
    let model = start().await;
    let waited = model.wait_for_requests(1, Duration::from_millis(50)).await;
    assert_eq!(
        waited.expect_err("nothing came").kind(),
        ErrorKind::TimedOut
    );
}

#[tokio::test]
async fn stopping_cuts_running_answers_and_frees_the_port() {
    let model = start().await;
    let address = model.address();
    let (_client, stream) = begin(&model, &json!([{"head": {}}, {"hold": "never"}])).await;
    model.stop().await;
    stream.collect().await.expect_err("the answer is cut");
    tokio::net::TcpListener::bind(address)
        .await
        .expect("the port is free");
}
