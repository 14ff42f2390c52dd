//! `phase`: the part that a message of the model plays in its answer, to the client and back.
//! OpenAI API reference, "The response object", `output`.

use serde_json::{Value, json};
use tests::scripted_model::ScriptedModel;

use super::client::{create, id, play, respond, send};
use crate::stack::start;

#[tokio::test]
async fn phase_of_a_message_reaches_the_client_and_comes_back_to_the_model() {
    let (model, sidecar) = start().await;
    let script = json!([
        {"text": "Hm.", "phase": "commentary"}, {"text": "Yes.", "phase": "final_answer"},
    ]);
    let first = respond(&sidecar, json!({"input": play(&script)})).await;
    let output = first["output"].as_array().unwrap();
    let phases: Vec<_> = output.iter().map(|item| &item["phase"]).collect();
    assert_eq!(phases, ["commentary", "final_answer"], "{first}");
    let user = json!({"role": "user", "content": play(&json!({"text": "Done."}))});
    let sent = |model: &ScriptedModel| {
        let input = model.requests().last().unwrap().body["input"].clone();
        let items = input.as_array().unwrap().clone();
        let phases = items.iter().map(|item| item["phase"].clone());
        phases.collect::<Vec<_>>()
    };
    let returned = json!({"input": [user, output[0], output[1], user]});
    let plain = respond(&sidecar, returned).await;
    let phases = [
        Value::Null,
        json!("commentary"),
        json!("final_answer"),
        Value::Null,
    ];
    assert_eq!(sent(&model), phases);
    assert_eq!(plain["output"][0].get("phase"), None, "absent without one");
    respond(
        &sidecar,
        json!({"input": [user], "previous_response_id": id(&first)}),
    )
    .await;
    assert_eq!(sent(&model), phases, "the stored messages have it too");
    let body = json!({"input": [{"role": "user", "content": "hi", "phase": "commentary"}]});
    let ignored = send(&sidecar, create(body)).await;
    assert_eq!(ignored.header("x-codex-edge-ignored"), "input[].phase");
}
