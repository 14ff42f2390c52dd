//! The events of a streamed response: their order, their sequence numbers, and the end of the stream.
//! OpenAI API reference, "Responses streaming events".

use serde_json::{Value, json};
use tests::sse::{self, Events};

use super::client::{create, ok, play, retrieve};
use crate::stack::{start, start_with};

/// Streams a response and returns its events. Asserts that each frame has the event's name and sequence number.
async fn events(sidecar: &tests::sidecar::Sidecar, body: Value) -> Vec<Value> {
    let mut client = sidecar.connect().await;
    let response = client
        .stream(create(body))
        .await
        .expect("a response arrives");
    assert_eq!(response.status, 200);
    assert_eq!(
        response.headers["content-type"],
        "text/event-stream; charset=utf-8"
    );
    let frames = Events::new(response)
        .rest()
        .await
        .expect("the stream ends without a transport error");
    let events = frames.iter().enumerate().map(|(number, frame)| {
        let event = sse::json(frame);
        let name = event["type"].as_str().expect("an event has a type");
        assert!(frame.starts_with(&format!("event: {name}\n")), "{frame}");
        assert_eq!(event["sequence_number"], number, "{frame}");
        event
    });
    events.collect()
}

fn names(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .map(|event| event["type"].as_str().expect("an event has a type"))
        .map(|name| name.trim_start_matches("response."))
        .collect()
}

#[tokio::test]
async fn each_item_is_added_filled_and_done() {
    let (model, sidecar) = start().await;
    let script = json!([
        {"reasoning": ["Think.", "More."], "encrypted_content": "gAAA"},
        {"text": "Héllo", "delta_chars": 3},
        {"call": "look", "call_id": "c1", "arguments": {"a": 1}},
    ]);
    let tools = json!([{"type": "function", "name": "look"}]);
    let body = json!({"input": play(&script), "stream": true, "tools": tools, "reasoning": {"summary": "auto"}});
    let events = events(&sidecar, body).await;
    let expected = [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ];
    assert_eq!(names(&events), expected);
    let last = &events.last().unwrap()["response"];
    let done = events
        .iter()
        .filter(|event| event["type"] == "response.output_item.done");
    for (index, event) in done.enumerate() {
        assert_eq!(event["output_index"], index);
        assert_eq!(
            event["item"], last["output"][index],
            "an item does not change after it is done"
        );
    }
    let id = last["id"].as_str().unwrap();
    assert_eq!(
        &ok(&retrieve(&sidecar, id).await),
        last,
        "the stored response equals the last event"
    );
    for event in events.iter().filter(|event| event.get("item_id").is_some()) {
        let index = usize::try_from(event["output_index"].as_u64().unwrap()).unwrap();
        assert_eq!(event["item_id"], last["output"][index]["id"]);
    }
    assert!(last["usage"]["input_tokens"].as_u64() > Some(0), "{last}");
    assert_eq!(model.requests().len(), 1);
}

#[tokio::test]
async fn first_events_precede_the_model_response_and_deltas_follow_it() {
    let (model, sidecar) = start_with(|options| options.env("PROXY_STREAM_HEAD_MS", "0")).await;
    let script = json!([{"hold": "go"}, {"text": "first", "open": true}, {"hold": "rest"}, {"text": " second"}]);
    let mut client = sidecar.connect().await;
    let request = create(json!({"input": play(&script), "stream": true}));
    let mut events = Events::new(client.stream(request).await.unwrap());
    assert_eq!(events.next_json().await["type"], "response.created");
    assert_eq!(events.next_json().await["type"], "response.in_progress");
    model.release("go");
    assert_eq!(
        events.next_json().await["type"],
        "response.output_item.added"
    );
    assert_eq!(
        events.next_json().await["type"],
        "response.content_part.added"
    );
    assert_eq!(events.next_json().await["delta"], "first");
    model.release("rest");
    assert_eq!(events.next_json().await["delta"], " second");
}

#[tokio::test]
async fn failure_sends_response_failed_and_error_but_not_completed() {
    let (_model, sidecar) = start().await;
    for (script, openai_code, code, param) in [
        (
            json!([{"text": "par", "open": true}, {"cut": "abort"}]),
            "server_error",
            "codex_failed",
            Value::Null,
        ),
        (
            json!([{"text": "par", "open": true}, {"failed": "context_length_exceeded"}]),
            "context_length_exceeded",
            "context_length_exceeded",
            json!("input"),
        ),
        (
            json!([{"text": "par", "open": true}, {"failed": "server_is_overloaded"}]),
            "server_error",
            "codex_unavailable",
            Value::Null,
        ),
    ] {
        let events = events(&sidecar, json!({"input": play(&script), "stream": true})).await;
        let [.., failed, error] = events.as_slice() else {
            panic!("too few events: {events:?}");
        };
        assert_eq!(failed["type"], "response.failed");
        assert_eq!(
            (
                &failed["response"]["status"],
                &failed["response"]["error"]["code"]
            ),
            (&json!("failed"), &json!(openai_code))
        );
        assert_eq!(
            (&error["type"], &error["code"], &error["param"]),
            (&json!("error"), &json!(code), &param)
        );
        assert_eq!(
            error["error"]["code"], code,
            "the SDKs read the code from this field"
        );
        assert!(!names(&events).contains(&"completed"));
    }
}

#[tokio::test]
async fn refusal_and_truncation_have_their_own_events() {
    let (_model, sidecar) = start().await;
    let refusal = events(
        &sidecar,
        json!({"input": play(&json!({"refusal": "No."})), "stream": true}),
    )
    .await;
    let expected = [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "refusal.delta",
        "refusal.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ];
    assert_eq!(names(&refusal), expected);
    let body =
        json!({"input": play(&json!({"text": "one two"})), "stream": true, "max_output_tokens": 1});
    let truncated = events(&sidecar, body).await;
    assert_eq!(names(&truncated).last(), Some(&"incomplete"));
    assert_eq!(
        truncated.last().unwrap()["response"]["output"][0]["status"],
        "incomplete"
    );
}
