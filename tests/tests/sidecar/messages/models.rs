//! The models in Anthropic's shape, and the count of tokens.

use serde_json::{Value, json};
use tests::http::{get, with};

use super::fixture::{post_json, send};
use crate::stack::{start, start_with};

fn versioned(path: &str) -> http::Request<tests::http::Body> {
    with(get(path), "anthropic-version", "2023-06-01")
}

#[tokio::test]
async fn models_are_listed_in_pages() {
    let (_model, sidecar) = start().await;
    let page = |query: &str| format!("/v1/models{query}");
    let all = send(&sidecar, versioned(&page("?limit=1000"))).await.json();
    let ids: Vec<_> = all["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| model["id"].as_str().unwrap())
        .collect();
    assert!(ids.len() > 3 && ids.contains(&"codex-5"), "{ids:?}");
    assert_eq!(
        (all["first_id"].as_str(), all["last_id"].as_str()),
        (ids.first().copied(), ids.last().copied())
    );
    assert_eq!(all["has_more"], false);
    let first = &all["data"][0];
    assert_eq!(
        (&first["type"], &first["lifecycle"]),
        (&json!("model"), &json!("active"))
    );
    let created = first["created_at"].as_str().unwrap();
    assert!(created.ends_with('Z') && created.contains('T'), "{created}");

    let mut listed = Vec::new();
    let mut query = "?limit=2".to_owned();
    loop {
        let page = send(&sidecar, versioned(&page(&query))).await.json();
        let data = page["data"].as_array().unwrap();
        listed.extend(
            data.iter()
                .map(|model| model["id"].as_str().unwrap().to_owned()),
        );
        if page["has_more"] != true {
            break;
        }
        query = format!("?limit=2&after_id={}", page["last_id"].as_str().unwrap());
    }
    assert_eq!(listed, ids);
    let before = send(
        &sidecar,
        versioned(&page(&format!("?limit=1&before_id={}", ids[2]))),
    )
    .await
    .json();
    assert_eq!(
        (before["first_id"].as_str(), &before["has_more"]),
        (Some(ids[1]), &json!(true))
    );
    for query in [
        "?limit=0",
        "?limit=x",
        "?after_id=nope",
        "?after_id=codex-5&before_id=codex-5",
    ] {
        let response = send(&sidecar, versioned(&page(query))).await;
        assert_eq!(
            (response.status.as_u16(), &response.json()["type"]),
            (400, &json!("error")),
            "{query}"
        );
    }
    let plain = send(&sidecar, get("/v1/models")).await.json();
    assert_eq!(plain["object"], "list");
    let one = send(&sidecar, versioned("/v1/models/CODEX-5")).await.json();
    assert_eq!(one["id"], "codex-5");
}

#[tokio::test]
async fn other_model_names_are_served_under_their_own_name() {
    let models = json!({"claude-sonnet-x": {"effort": "high"}, "*": {}}).to_string();
    let (model, sidecar) = start_with(|options| options.env("PROXY_MODELS", &models)).await;
    for (name, is_high) in [("claude-sonnet-x", true), ("claude-opus-y", false)] {
        let message =
            super::fixture::ask(&sidecar, json!({"text": "Hi."}), json!({"model": name})).await;
        assert_eq!(message["model"], name);
        let requests = model.requests();
        let body = &requests.last().unwrap().body;
        assert_ne!(body["model"], name);
        assert_eq!(body["reasoning"]["effort"] == "high", is_high, "{name}");
    }
}

#[tokio::test]
async fn count_is_an_estimate_and_starts_no_turn() {
    let (model, sidecar) = start().await;
    let body = json!({"model": "codex-5", "system": "Be brief.", "messages": [{"role": "user", "content": "12345678"}]});
    let response = send(&sidecar, post_json("/v1/messages/count_tokens", &body)).await;
    let count: Value = response.json();
    assert_eq!(
        count,
        json!({"input_tokens": 5, "estimated": true}),
        "{response:?}"
    );
    assert_eq!(model.requests().len(), 0);
    let invalid = send(
        &sidecar,
        post_json("/v1/messages/count_tokens", &json!({"model": "codex-5"})),
    )
    .await;
    assert_eq!(invalid.status, 400);
}
