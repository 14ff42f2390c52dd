//! `/v1/models`: the ids that a client sees, and the context window of each.
//! OpenAI API reference, "Models"; the models and their context windows are those that Codex reports.

use std::fs;

use expect_test::expect_file;
use serde_json::{Value, json};
use tests::codex::models::{default_model, efforts, visible_models};
use tests::http::{get, with};
use tests::sidecar::Sidecar;
use tokio::time::{sleep, timeout};

use crate::proto;
use crate::stack::{SOON, ask, assert_error, start, start_with};

async fn listed(sidecar: &Sidecar) -> Vec<String> {
    let list = sidecar.connect().await.send(get("/v1/models")).await;
    let list = list.expect("a response arrives").json();
    let ids = list["data"].as_array().into_iter().flatten();
    ids.filter_map(|model| Some(model["id"].as_str()?.to_owned()))
        .collect()
}

#[tokio::test]
async fn list_has_every_visible_model_and_the_public_id_with_its_efforts() {
    let (_model, sidecar) = start().await;
    let own = efforts(default_model());
    let with_effort = own.iter().map(|effort| format!("codex-5-{effort}"));
    let visible = visible_models().into_iter().map(str::to_owned);
    let expected: Vec<_> = std::iter::once("codex-5".to_owned())
        .chain(with_effort)
        .chain(visible)
        .collect();
    assert_eq!(listed(&sidecar).await, expected);

    let mut client = sidecar.connect().await;
    let list = client.send(get("/v1/models")).await.unwrap();
    assert_eq!(list.header("cache-control"), "public, max-age=60");
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
async fn each_model_has_the_context_window_that_codex_reports() {
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
    expect_file!["../../../golden/models/list.json"].assert_eq(&lines);
    for model in list.json()["data"].as_array().unwrap() {
        let path = format!("/v1/models/{}", model["id"].as_str().unwrap());
        let one = client.send(get(&path)).await.unwrap();
        assert_eq!(one.json(), *model, "a model by id equals its list entry");
    }
}

#[tokio::test]
async fn ids_match_in_any_case_and_unknown_ids_get_404() {
    let (_model, sidecar) = start().await;
    let mut client = sidecar.connect().await;
    let default = default_model();
    let upper = default.to_uppercase();
    for (id, expected) in [
        ("codex-5-low", "codex-5-low"),
        ("CODEX-5-Low", "codex-5-low"),
        ("codev-5", "codev-5"),
        (upper.as_str(), default),
        ("codex-5/", "codex-5"),
    ] {
        let one = client.send(get(&format!("/v1/models/{id}"))).await.unwrap();
        assert_eq!(one.status, 200, "{id}");
        assert_eq!(one.json()["id"], expected);
    }
    for id in ["gpt-4", "codex-5-huge", "codex-5/low", "%63odex-5x"] {
        let one = client.send(get(&format!("/v1/models/{id}"))).await.unwrap();
        assert_error(&one, 404, "model_not_found");
        assert_eq!(one.json()["error"]["param"], "model");
    }
    let gated = with(get("/v1/models/codex-5"), "x-codex-edge-models", "*-low");
    assert_error(&client.send(gated).await.unwrap(), 404, "model_not_found");
}

/// The operator changes `model` in `config.toml`, as a new login or a new list of the service changes the models.
#[tokio::test]
async fn changed_default_is_picked_up_without_a_restart() {
    let (model, sidecar) = start().await;
    let [before, .., after] = visible_models()[..] else {
        panic!("Codex lists several models");
    };
    let config = sidecar.dir().join("codex-home/config.toml");
    let provider = fs::read_to_string(&config).unwrap();
    let script = json!([{"text": "Hi."}]);
    let answer = ask(&sidecar, script.clone(), json!({})).await;
    assert_eq!(answer.status, 200, "{answer:?}");

    let changed = format!("model = \"{after}\"\n{provider}");
    fs::write(config.with_extension("new"), changed).unwrap();
    fs::rename(config.with_extension("new"), &config).unwrap();
    let position = async |id: &str| listed(&sidecar).await.iter().position(|other| other == id);
    let picked_up = async {
        while position(after).await > position(before).await {
            sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    timeout(SOON, picked_up).await.expect("the list changes");
    let answer = ask(&sidecar, script, json!({})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let requests = model.requests();
    let names: Vec<&Value> = requests
        .iter()
        .map(|request| &request.body["model"])
        .collect();
    assert_eq!(names, [before, after]);
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
