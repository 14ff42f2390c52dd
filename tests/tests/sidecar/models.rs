//! `/v1/models`: the ids that a client sees, and the context window of each.
//! OpenAI API reference, "Models"; the context windows come from the catalogue in the Codex binary.

use expect_test::expect_file;
use serde_json::Value;
use tests::http::{get, with};

use crate::proto;
use crate::stack::{assert_error, start, start_with};

#[tokio::test]
async fn model_list_has_all_ids_or_those_the_key_allows() {
    let (_model, sidecar) = start().await;
    let mut client = sidecar.connect().await;
    let list = client.send(get("/v1/models")).await.unwrap();
    assert_eq!(list.header("cache-control"), "public, max-age=60");
    let ids: Vec<Value> = list.json()["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| model["id"].clone())
        .collect();
    let expected = [
        "codex-5",
        "codex-5-low",
        "codex-5-medium",
        "codex-5-high",
        "codex-5-minimal",
        "gpt-5",
    ];
    assert_eq!(ids, expected);
    let limited_request = with(
        with(get("/v1/models"), "x-codex-edge-client", "a"),
        "x-codex-edge-models",
        "*-low",
    );
    let limited = client.send(limited_request).await.unwrap();
    assert_eq!(limited.header("cache-control"), "private");
    assert_eq!(limited.json()["data"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn each_model_has_the_context_window_of_codexs_catalogue() {
    let own = r#"{"wide": {"model": "gpt-6.1-terra", "effort": "low"}, "new": {"model": "gpt-of-tomorrow"}}"#;
    let (_model, sidecar) = start_with(|options| {
        options
            .env("CODEX_MODEL", "gpt-5.5")
            .env("PROXY_MODELS", own)
    })
    .await;
    let mut client = sidecar.connect().await;
    let list = client.send(get("/v1/models")).await.unwrap();
    let created = list.json()["data"][0]["created"].as_u64().unwrap();
    assert!(created > 1_700_000_000, "a date that clients can show");
    let lines = String::from_utf8(list.body.to_vec())
        .unwrap()
        .replace(&format!("\"created\":{created}"), "\"created\":0")
        .replace("},{", "},\n{")
        + "\n";
    expect_file!["../../golden/models/list.json"].assert_eq(&lines);
    for model in list.json()["data"].as_array().unwrap() {
        let path = format!("/v1/models/{}", model["id"].as_str().unwrap());
        let one = client.send(get(&path)).await.unwrap();
        assert_eq!(one.json(), *model, "a model by id equals its list entry");
    }
}

#[tokio::test]
async fn model_ids_match_in_any_case_and_unknown_ids_get_404() {
    let (_model, sidecar) = start().await;
    let mut client = sidecar.connect().await;
    for id in ["codex-5-low", "CODEX-5-Low", "codev-5", "GPT-5", "gpt-5/"] {
        let one = client.send(get(&format!("/v1/models/{id}"))).await.unwrap();
        assert_eq!(one.status, 200, "{id}");
        assert_eq!(one.json()["id"], id.trim_end_matches('/'));
    }
    for id in ["gpt-4", "codex-5-ultra", "codex-5/low", "%63odex-5x"] {
        let one = client.send(get(&format!("/v1/models/{id}"))).await.unwrap();
        assert_error(&one, 404, "model_not_found");
        assert_eq!(one.json()["error"]["param"], "model");
    }
    let gated = with(get("/v1/models/codex-5"), "x-codex-edge-models", "*-low");
    assert_error(&client.send(gated).await.unwrap(), 404, "model_not_found");
}

#[tokio::test]
async fn models_of_a_proto_codex_have_no_context_window() {
    let (_model, sidecar) = start_with(|options| {
        options
            .env("CODEX_BIN", &proto::codex_binary())
            .env("CODEX_MODEL", "gpt-5.5")
    })
    .await;
    let mut client = sidecar.connect().await;
    let one = client.send(get("/v1/models/gpt-5.5")).await.unwrap();
    let model = one.json();
    assert_eq!(model["id"], "gpt-5.5");
    assert_eq!(model.get("context_window"), None, "{model}");
}
