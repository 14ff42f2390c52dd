//! The recorded requests, and the detection of clients that disconnect.
//! Follows the docs of `tests::scripted_model::RecordedRequest`.

use std::io::ErrorKind;
use std::time::Duration;

use serde_json::json;
use tests::http::{get, post};
use tests::scripted_model::Delivery;

use crate::{SOON, begin, body, connect, directive, play, start};

#[tokio::test]
async fn request_is_recorded_as_received() {
    let model = start().await;
    let sent = body(&directive(&json!({"text": "Hello"}))).to_string();
    let mut client = connect(&model).await;
    client
        .send(post("/v1/responses", sent.clone()))
        .await
        .expect("a response");
    client
        .send(get("/v1/models?client_version=1"))
        .await
        .expect("a response");
    let requests = model.requests();
    let [responses, models] = &requests[..] else {
        panic!("expected two requests: {requests:?}");
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
async fn disconnect_during_the_stream_is_recorded() {
    let model = start().await;
    let (client, stream) = begin(&model, &json!([{"text": "Hello"}, {"hold": "never"}])).await;
    assert_eq!(model.requests()[0].delivery, Delivery::Running);
    drop((client, stream));
    let requests = model
        .wait_for_disconnects(1, SOON)
        .await
        .expect("the disconnect is recorded");
    assert!(matches!(requests[0].delivery, Delivery::CutByClient { at } if at >= requests[0].at));
}

#[tokio::test]
async fn disconnect_before_the_head_is_recorded() {
    let model = start().await;
    let mut client = connect(&model).await;
    let prompt = directive(&json!([{"hold": "never"}, {"text": "Hello"}]));
    let request = post("/v1/responses", body(&prompt).to_string());
    tokio::select! {
        _ = client.stream(request) => panic!("the head is held"),
        recorded = model.wait_for_requests(1, SOON) => drop(recorded.expect("the request arrives")),
    }
    drop(client);
    model
        .wait_for_disconnects(1, SOON)
        .await
        .expect("the disconnect is recorded");
}

#[tokio::test]
async fn scripted_cut_is_recorded_as_done() {
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
async fn wait_for_requests_times_out() {
    let model = start().await;
    let waited = model.wait_for_requests(1, Duration::from_millis(50)).await;
    assert_eq!(
        waited.expect_err("no request was sent").kind(),
        ErrorKind::TimedOut
    );
}

#[tokio::test]
async fn stop_aborts_running_responses_and_frees_the_port() {
    let model = start().await;
    let address = model.address();
    let (_client, stream) = begin(&model, &json!([{"head": {}}, {"hold": "never"}])).await;
    model.stop().await;
    stream.collect().await.expect_err("the response is aborted");
    tokio::net::TcpListener::bind(address)
        .await
        .expect("the port is free");
}
