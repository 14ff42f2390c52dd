//! Requests of a key with a budget, and the state of its limits.

use http::Request;
use serde_json::{Value, json};
use tests::http::{Body, BufferedResponse, get, with};
use tests::sidecar::Sidecar;

/// A text of 4,000 characters, about 1,000 tokens, in small deltas.
pub(super) fn long_text() -> Value {
    json!([{"text": "0123456789".repeat(400), "delta_chars": 7}])
}

/// A request of the client `ann` with this budget, as the filter sends it.
pub(super) fn of_ann(request: Request<Body>, budget: &str) -> Request<Body> {
    let request = with(request, "x-codex-edge-client", "ann");
    with(request, "x-codex-edge-budget", budget)
}

pub(super) async fn send(sidecar: &Sidecar, request: Request<Body>) -> BufferedResponse {
    let mut client = sidecar.connect().await;
    client.send(request).await.expect("a response arrives")
}

/// Returns the limits of the key in `/v1/usage`.
pub(super) async fn limits(sidecar: &Sidecar, budget: &str) -> Value {
    let usage = send(sidecar, of_ann(get("/v1/usage"), budget)).await;
    usage.json()["budget"].clone()
}
