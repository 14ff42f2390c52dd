//! Stored state: conversations that continue by id, responses that are read again, and the bounds of both.
//! OpenAI API reference, `previous_response_id`, "Get", "Delete" and "Cancel a model response", "List input items".

use serde_json::{Value, json};
use tests::http::post;
use tests::sidecar::wait_until_gone;
use tests::sse::Events;

use super::client::{create, delete, id, of_client, ok, play, respond, retrieve, send, sent, text};
use crate::stack::{SOON, assert_error, eventually, start, start_with};

#[tokio::test]
async fn ten_turns_are_one_conversation_across_worker_recycling() {
    let (model, sidecar) = start_with(|options| options.env("CODEX_WORKER_MAX_TURNS", "3")).await;
    let first = sidecar.children();
    let mut previous = Value::Null;
    for turn in 0..10 {
        if turn == 5 {
            wait_until_gone(&first).await;
        }
        let input = format!(
            "{turn} {}",
            play(&json!({"text": format!("answer {turn}")}))
        );
        let body = json!({
            "input": input, "previous_response_id": previous, "instructions": format!("rule {turn}"),
        });
        let response = respond(&sidecar, body).await;
        assert_eq!(text(&response), format!("answer {turn}"));
        assert_eq!(response["previous_response_id"], previous);
        previous = response["id"].clone();
    }
    let items = sent(&model);
    assert_eq!(items.len(), 20);
    assert_eq!(
        items[0],
        ("developer".to_owned(), "rule 9".to_owned()),
        "instructions apply to their own turn only"
    );
    for turn in 0..9 {
        assert!(
            items[1 + 2 * turn].1.starts_with(&turn.to_string()),
            "{items:?}"
        );
        assert_eq!(
            items[2 + 2 * turn],
            ("assistant".to_owned(), format!("answer {turn}"))
        );
    }
    assert_eq!(model.requests().len(), 10);
}

#[tokio::test]
async fn calls_continue_by_id_with_their_reasoning() {
    let (model, sidecar) = start().await;
    let rounds = json!([
        [{"reasoning": ["Two."], "encrypted_content": "gAAA"}, {"call": "look", "call_id": "c1", "arguments": "{}"}],
        [{"text": "Dark."}],
    ]);
    let tools = json!([{"type": "function", "name": "look"}]);
    let first = respond(&sidecar, json!({"input": play(&rounds), "tools": tools})).await;
    assert_eq!(first["output"][0]["encrypted_content"], Value::Null);
    let output = json!({"type": "function_call_output", "call_id": "c1", "output": "dark"});
    let kinds = || -> Vec<String> { sent(&model).into_iter().map(|(kind, _)| kind).collect() };
    let expected = ["user", "reasoning", "function_call", "function_call_output"];

    let unanswered = json!({"input": "Well?", "tools": tools, "previous_response_id": id(&first)});
    assert_error(
        &send(&sidecar, create(unanswered)).await,
        400,
        "invalid_request_error",
    );
    let by_id = json!({"input": [output], "tools": tools, "previous_response_id": id(&first)});
    assert_eq!(text(&respond(&sidecar, by_id).await), "Dark.");
    assert_eq!(kinds(), expected);

    let reasoning = json!({"type": "reasoning", "id": first["output"][0]["id"], "summary": []});
    let call = json!({"type": "item_reference", "id": first["output"][1]["id"]});
    let question = json!({"role": "user", "content": play(&rounds)});
    let by_reference = json!({"input": [question, reasoning, call, output], "tools": tools});
    assert_eq!(
        text(&respond(&sidecar, by_reference.clone()).await),
        "Dark."
    );
    assert_eq!(kinds(), expected);
    assert_eq!(
        sent(&model)[1].1,
        "gAAA",
        "the sidecar adds the encrypted content"
    );
    let by_other_client = of_client(create(by_reference), "another-client");
    assert_error(
        &send(&sidecar, by_other_client).await,
        400,
        "invalid_request_error",
    );
}

#[tokio::test]
async fn response_is_visible_to_its_client_only_until_deleted() {
    let (_model, sidecar) = start().await;
    let body = json!({"input": play(&json!({"text": "Hi."}))});
    let http_response = send(&sidecar, of_client(create(body.clone()), "me")).await;
    let response = ok(&http_response);
    let path = format!("/v1/responses/{}", id(&response));
    let own_request = |method: &str, path: &str| {
        of_client(tests::http::empty(method.parse().unwrap(), path), "me")
    };
    assert_eq!(
        ok(&send(&sidecar, own_request("GET", &path)).await),
        response
    );

    let unknown = send(&sidecar, own_request("GET", "/v1/responses/resp_nothing")).await;
    assert_error(&unknown, 404, "response_not_found");
    let same = unknown
        .json()
        .to_string()
        .replace("resp_nothing", id(&response));
    for (method, path) in [
        ("GET", path.clone()),
        ("DELETE", path.clone()),
        ("GET", format!("{path}/input_items")),
        ("POST", format!("{path}/cancel")),
    ] {
        let request = tests::http::empty(method.parse().unwrap(), &path);
        let http_response = send(&sidecar, of_client(request, "other")).await;
        assert_eq!(http_response.status, 404, "{method} {path}");
        assert_eq!(
            http_response.json().to_string(),
            same,
            "the body equals that of an unknown id"
        );
    }
    let foreign = of_client(
        create(json!({"input": "x", "previous_response_id": id(&response)})),
        "other",
    );
    assert_error(
        &send(&sidecar, foreign).await,
        400,
        "previous_response_not_found",
    );

    let deleted = ok(&send(&sidecar, own_request("DELETE", &path)).await);
    assert_eq!(
        deleted,
        json!({"id": id(&response), "object": "response", "deleted": true})
    );
    assert_error(
        &send(&sidecar, own_request("DELETE", &path)).await,
        404,
        "response_not_found",
    );

    let mut not_stored = body;
    not_stored["store"] = json!(false);
    let unstored = respond(&sidecar, not_stored).await;
    assert_error(
        &retrieve(&sidecar, id(&unstored)).await,
        404,
        "response_not_found",
    );
}

#[tokio::test]
async fn input_items_are_paginated() {
    let (_model, sidecar) = start().await;
    let input: Vec<_> = (0..5)
        .map(|number| json!({"role": "user", "content": format!("{number} {}", play(&json!({"text": "Hi."})))}))
        .collect();
    let response = respond(&sidecar, json!({"input": input})).await;
    let page = async |query: &str| {
        ok(&retrieve(&sidecar, &format!("{}/input_items?{query}", id(&response))).await)
    };
    let numbers = |page: &Value| -> String {
        let items = page["data"].as_array().unwrap().iter();
        items
            .map(|item| item["content"][0]["text"].as_str().unwrap()[..1].to_owned())
            .collect()
    };
    assert_eq!(
        numbers(&page("").await),
        "43210",
        "the newest item comes first, as with OpenAI"
    );
    let first = page("order=asc&limit=2").await;
    assert_eq!(
        (numbers(&first).as_str(), &first["has_more"]),
        ("01", &json!(true))
    );
    assert_eq!(first["last_id"], first["data"][1]["id"]);
    let last_id = first["last_id"].as_str().unwrap();
    let rest = page(&format!("order=asc&after={last_id}")).await;
    assert_eq!(
        (numbers(&rest).as_str(), &rest["has_more"]),
        ("234", &json!(false))
    );
    for wrong in ["limit=0", "limit=x", "order=up", "after=msg_none"] {
        let http_response =
            retrieve(&sidecar, &format!("{}/input_items?{wrong}", id(&response))).await;
        assert_error(&http_response, 400, "invalid_request_error");
    }
}

#[tokio::test]
async fn stored_responses_are_bounded_by_count_size_and_age() {
    let text = play(&json!({"text": "Hi."}));
    let (_model, sidecar) = start_with(|options| options.env("PROXY_RESPONSES_MAX", "2")).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(respond(&sidecar, json!({"input": text})).await["id"].clone());
    }
    let status = async |id: &Value| {
        retrieve(&sidecar, id.as_str().unwrap())
            .await
            .status
            .as_u16()
    };
    assert_eq!(
        (
            status(&ids[0]).await,
            status(&ids[1]).await,
            status(&ids[2]).await
        ),
        (404, 200, 200)
    );

    let (_model, sidecar) = start_with(|options| options.env("PROXY_RESPONSES_MAX_MIB", "1")).await;
    let large = json!({"input": format!("{} {text}", "x".repeat(600_000))});
    let first = respond(&sidecar, large.clone()).await;
    assert_eq!(retrieve(&sidecar, id(&first)).await.status, 200);
    let second = respond(&sidecar, large).await;
    assert_eq!(retrieve(&sidecar, id(&first)).await.status, 404);
    assert_eq!(retrieve(&sidecar, id(&second)).await.status, 200);

    let (_model, sidecar) = start_with(|options| options.env("PROXY_RESPONSES_TTL_MS", "1")).await;
    let old = respond(&sidecar, json!({"input": text})).await;
    let gone = async { while retrieve(&sidecar, id(&old)).await.status == 200 {} };
    assert!(
        tokio::time::timeout(SOON, gone).await.is_ok(),
        "a response older than its TTL is removed"
    );
}

#[tokio::test]
async fn cancelled_stream_ends_with_an_error() {
    let (model, sidecar) = start().await;
    let script = json!([{"text": "par", "open": true}, {"hold": "for ever"}, {"text": "ty"}]);
    let mut client = sidecar.connect().await;
    let request = create(json!({"input": play(&script), "stream": true}));
    let mut events = Events::new(client.stream(request).await.unwrap());
    let created = events.next_json().await;
    let id = created["response"]["id"].as_str().unwrap().to_owned();
    while events.next_json().await["type"] != "response.output_text.delta" {}

    assert_eq!(ok(&retrieve(&sidecar, &id).await)["status"], "in_progress");
    assert_error(&delete(&sidecar, &id).await, 400, "invalid_request_error");
    let early = create(json!({"input": "x", "previous_response_id": id}));
    assert_error(&send(&sidecar, early).await, 400, "invalid_request_error");
    let cancel = post(&format!("/v1/responses/{id}/cancel"), "");
    let (rest, cancellation) = tokio::join!(events.rest(), send(&sidecar, cancel));
    let cancelled = ok(&cancellation);
    assert_eq!(cancelled["status"], "cancelled");
    assert_eq!(
        text(&cancelled),
        "par",
        "the text before the cancellation is kept"
    );
    assert!(
        model.wait_for_disconnects(1, SOON).await.is_ok(),
        "Codex drops the model request"
    );

    let frames = rest.unwrap().join("\n");
    assert!(
        frames.contains("event: response.failed") && frames.contains("event: error"),
        "{frames}"
    );
    assert!(
        frames.contains("response_cancelled") && !frames.contains("response.completed"),
        "{frames}"
    );
    assert!(cancelled["error"].is_null(), "{cancelled}");
    assert_eq!(ok(&retrieve(&sidecar, &id).await), cancelled);
    let again = post(&format!("/v1/responses/{id}/cancel"), "");
    assert_eq!(
        ok(&send(&sidecar, again).await),
        cancelled,
        "a second cancellation changes no field"
    );
    let late = create(json!({"input": "x", "previous_response_id": id}));
    assert_error(&send(&sidecar, late).await, 400, "invalid_request_error");
}

#[tokio::test]
async fn background_response_is_readable_after_it_ends() {
    let (model, sidecar) = start().await;
    let script = json!([{"hold": "go"}, {"text": "Hi."}]);
    let begun = respond(
        &sidecar,
        json!({"input": play(&script), "background": true}),
    )
    .await;
    assert_eq!(
        (&begun["status"], &begun["background"]),
        (&json!("in_progress"), &json!(true))
    );
    assert_eq!(ok(&retrieve(&sidecar, id(&begun)).await), begun);
    model.release("go");
    let over = async {
        loop {
            let response = ok(&retrieve(&sidecar, id(&begun)).await);
            if response["status"] != "in_progress" {
                return response;
            }
        }
    };
    let response = tokio::time::timeout(SOON, over)
        .await
        .expect("the response ends in time");
    assert_eq!(
        (&response["status"], text(&response)),
        (&json!("completed"), "Hi.")
    );

    let script = json!([{"text": "par", "open": true}, {"cut": "abort"}]);
    let failing = respond(
        &sidecar,
        json!({"input": play(&script), "background": true}),
    )
    .await;
    let failed =
        async { while ok(&retrieve(&sidecar, id(&failing)).await)["status"] != "failed" {} };
    assert!(tokio::time::timeout(SOON, failed).await.is_ok());
    assert_eq!(
        ok(&retrieve(&sidecar, id(&failing)).await)["error"]["code"],
        "server_error"
    );
}

#[tokio::test]
async fn background_stream_goes_on_when_the_client_disconnects() {
    let (model, sidecar) = start().await;
    let script = json!([{"text": "par", "open": true}, {"hold": "end"}, {"text": "ty"}]);
    let body = json!({"input": play(&script), "background": true, "stream": true});
    let mut client = sidecar.connect().await;
    let mut events = Events::new(client.stream(create(body)).await.unwrap());
    let created = events.next_json().await;
    assert_eq!(created["response"]["background"], true);
    while events.next_json().await["type"] != "response.output_text.delta" {}
    drop((events, client));
    model.release("end");
    let id = id(&created["response"]);
    let over = async {
        loop {
            let response = ok(&retrieve(&sidecar, id).await);
            if response["status"] != "in_progress" {
                break response;
            }
        }
    };
    let response = tokio::time::timeout(SOON, over)
        .await
        .expect("the response ends in time");
    assert_eq!(response["status"], "completed");
    assert_eq!(text(&response), "party");

    let whole = json!({"input": play(&json!({"text": "Hi."})), "background": true, "stream": true});
    let mut client = sidecar.connect().await;
    let mut events = Events::new(client.stream(create(whole)).await.unwrap());
    let rest = events.rest().await.unwrap();
    assert!(
        rest.last().unwrap().contains("response.completed"),
        "{rest:?}"
    );
}

#[tokio::test]
async fn client_disconnect_ends_the_response_and_stores_nothing() {
    let (model, sidecar) = start().await;
    let script = json!([{"text": "par", "open": true}, {"hold": "for ever"}, {"text": "ty"}]);
    let mut client = sidecar.connect().await;
    let request = create(json!({"input": play(&script), "stream": true}));
    let mut events = Events::new(client.stream(request).await.unwrap());
    let created = events.next_json().await;
    let id = created["response"]["id"].as_str().unwrap().to_owned();
    while events.next_json().await["type"] != "response.output_text.delta" {}
    drop((events, client));
    assert!(model.wait_for_disconnects(1, SOON).await.is_ok());
    eventually("the request is over", || {
        sidecar.log().contains("\"client_left\":true")
    })
    .await;
    assert_error(&retrieve(&sidecar, &id).await, 404, "response_not_found");
}
