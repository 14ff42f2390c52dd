//! A client that does not read its stream: the turn ends, other turns of the child go on, and the last frame has the cause.

use serde_json::json;
use tests::sse::{self, Events};

use crate::stack::{SOON, ask, chat, content, start};

/// More than the sidecar keeps for a client that does not read, and than the buffers of its socket.
const CHARS: usize = 12 << 20;

#[tokio::test]
async fn client_that_does_not_read_is_told_so() {
    let (model, sidecar) = start().await;
    let script = json!([{"chars": CHARS, "delta_chars": 8192}, {"hold": "end"}]);
    let mut client = sidecar.connect().await;
    let response = client.stream(chat(&script, &json!({"stream": true})));
    let mut stream = Events::new(response.await.unwrap());
    assert!(
        model.wait_for_disconnects(1, SOON).await.is_ok(),
        "the sidecar interrupts the turn"
    );
    let other = ask(&sidecar, json!([{"text": "Hi."}]), json!({})).await;
    assert_eq!(other.status, 200, "{other:?}");

    let events = stream.rest().await.unwrap();
    let (last, chunks) = events.split_last().unwrap();
    let error = &sse::json(last)["error"];
    assert_eq!(error["code"], "client_too_slow", "{last}");
    let read: usize = chunks
        .iter()
        .map(|chunk| content(&sse::json(chunk)).len())
        .sum();
    assert!(read < CHARS, "{read}");
}
