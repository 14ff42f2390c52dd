//! The choice of the script: queue, directive, default or demo; in process and over the control routes.
//! Follows "Choice of the script" in the docs of `tests::scripted_model`.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tests::http::{empty, post};
use tests::scripted_model::ScriptedModel;

use crate::{SOON, begin, body, connect, directive, play, script, send, start, text};

#[tokio::test]
async fn script_is_chosen_from_queue_then_directive_then_default_then_demo() {
    let model = start().await;
    model.enqueue(script(json!({"status": 500})));
    model.enqueue(script(json!({"text": "queued"})));
    model.set_default(Some(script(json!({"text": "default"}))));
    let scripted = json!({"text": "prompted"});
    assert_eq!(
        play(&model, &scripted).await.status,
        StatusCode::INTERNAL_SERVER_ERROR
    );
    assert_eq!(text(&play(&model, &scripted).await), "queued");
    assert_eq!(text(&play(&model, &scripted).await), "prompted");
    assert_eq!(text(&send(&model, &body("Hello")).await), "default");
    model.clear();
    let demo = text(&send(&model, &body("What is\nthis?")).await);
    assert!(demo.contains("You wrote “What is this?”"), "{demo}");
    assert_eq!(text(&send(&model, &body("What is\nthis?")).await), demo);
}

#[tokio::test]
async fn each_request_of_a_turn_gets_its_own_script() {
    let model = start().await;
    let mut body = body(&directive(&json!([
        [{"call": "f", "call_id": "a"}, {"call": "g", "call_id": "b"}],
        [{"text": "both came"}],
    ])));
    let first = send(&model, &body).await;
    assert!(String::from_utf8_lossy(&first.body).contains("function_call_arguments.done"));
    let input = body["input"].as_array_mut().expect("input is an array");
    for id in ["a", "b"] {
        input.push(json!({"type": "function_call", "call_id": id, "name": "f", "arguments": "{}"}));
    }
    for id in ["a", "b"] {
        input.push(json!({"type": "function_call_output", "call_id": id, "output": format!("-3 C in {id}")}));
    }
    assert_eq!(text(&send(&model, &body).await), "both came");
    let input = body["input"].as_array_mut().expect("input is an array");
    input.push(json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}));
    input.push(json!({"type": "function_call_output", "call_id": "c", "output": "4 C"}));
    let demo = text(&send(&model, &body).await);
    assert!(demo.contains("Your tool answered “4 C”"), "{demo}");
}

#[tokio::test]
async fn echo_step_returns_the_part_of_the_request() {
    let model = start().await;
    let parameters = json!({"type": "object", "properties": {}});
    let tools = json!([{"type": "function", "name": "f", "parameters": parameters}]);
    for part in ["input", "tools", "headers", "body"] {
        let mut body = body(&directive(&json!({"echo": part})));
        body["tools"] = tools.clone();
        let echo: Value =
            serde_json::from_str(&text(&send(&model, &body).await)).expect("an echo is JSON");
        match part {
            "headers" => assert_eq!(echo["content-type"], "application/json"),
            "body" => assert_eq!(echo, body),
            field => assert_eq!(echo, body[field]),
        }
    }
}

#[tokio::test]
async fn hold_before_the_head_delays_the_head_until_release() {
    let model = start().await;
    let mut client = connect(&model).await;
    let prompt = directive(&json!([{"hold": "head"}, {"text": "late"}]));
    let request = post("/v1/responses", body(&prompt).to_string());
    let released = async {
        model
            .wait_for_requests(1, SOON)
            .await
            .expect("the request arrives");
        model.release("head");
    };
    let (response, ()) = tokio::join!(client.send(request), released);
    assert_eq!(text(&response.expect("the response is complete")), "late");
    // A name stays released.
    let again = play(&model, &json!([{"hold": "head"}, {"text": "at once"}])).await;
    assert_eq!(text(&again), "at once");
}

#[tokio::test]
async fn control_routes_set_scripts_release_holds_and_list_requests() {
    let model = start().await;
    let command = json!({"enqueue": [{"text": "one"}, [{"text": "two"}]]});
    assert_eq!(
        control(&model, Method::POST, "scripts", &command).await,
        json!({"ok": true})
    );
    assert_eq!(text(&send(&model, &body("Hello")).await), "one");
    assert_eq!(text(&send(&model, &body("Hello")).await), "two");
    control(
        &model,
        Method::POST,
        "scripts",
        &json!({"default": {"text": "three"}}),
    )
    .await;
    assert_eq!(text(&send(&model, &body("Hello")).await), "three");
    control(&model, Method::DELETE, "scripts", &Value::Null).await;
    assert!(text(&send(&model, &body("Hello")).await).contains("You wrote “Hello”"));

    let (_client, stream) = begin(
        &model,
        &json!([{"head": {}}, {"hold": "h"}, {"text": "four"}]),
    )
    .await;
    control(&model, Method::POST, "release/h", &Value::Null).await;
    assert_eq!(
        text(&stream.collect().await.expect("the stream is complete")),
        "four"
    );

    let error = control(
        &model,
        Method::POST,
        "scripts",
        &json!({"enqueue": [{"tekst": "a"}]}),
    )
    .await;
    let message = error["error"]["message"].to_string();
    assert!(message.contains("step 1: a step needs one of"), "{message}");

    let requests = control(&model, Method::GET, "requests", &Value::Null).await;
    assert_eq!(requests.as_array().map(Vec::len), Some(5));
    assert_eq!(requests[0]["body"], body("Hello"));
    assert_eq!(requests[0]["delivery"], "done");
    control(&model, Method::DELETE, "requests", &Value::Null).await;
    assert_eq!(
        control(&model, Method::GET, "requests", &Value::Null).await,
        json!([])
    );
}

async fn control(model: &ScriptedModel, method: Method, route: &str, body: &Value) -> Value {
    let path = format!("/__control/{route}");
    let request = match method {
        Method::POST => post(&path, body.to_string()),
        method => empty(method, &path),
    };
    let response = connect(model).await.send(request).await;
    response.expect("the response is complete").json()
}
