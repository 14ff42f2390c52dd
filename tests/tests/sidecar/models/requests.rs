//! Requests for models, with their efforts and other settings: what reaches the model, and what is rejected.
//! OpenAI API reference, "Create chat completion" and "Create a model response".

use std::fs;

use http::Request;
use serde_json::{Value, json};
use tests::codex::models::{default_model, efforts, visible_models};
use tests::http::{Body, post, with};
use tests::scripted_model::ScriptedModel;
use tests::sidecar::{Sidecar, SidecarOptions};

use crate::stack::{ask, assert_error, start, start_with};

/// An API key login, as `codex login --with-api-key` writes it.
const LOGIN: &str = r#"{"auth_mode":"apikey","OPENAI_API_KEY":"sk-of-the-test"}"#;

/// The table of a provider that uses the login, as OpenAI's does.
fn provider(model: &ScriptedModel) -> String {
    format!(
        "[model_providers.service]\nname = \"service\"\nbase_url = \"{}\"\nwire_api = \"responses\"\n\
         requires_openai_auth = true\n",
        model.base_url()
    )
}

/// Starts a scripted model, and a sidecar whose home has nothing but an API key login and the model as its provider.
async fn start_with_api_key() -> (ScriptedModel, Sidecar) {
    let model = ScriptedModel::start()
        .await
        .expect("a loopback port is free");
    let sidecar = SidecarOptions::new(&model)
        .env("CODEX_FORCE_PROVIDER", "service")
        .home_file("config.toml", &provider(&model))
        .home_file("auth.json", LOGIN)
        .start()
        .await;
    (model, sidecar)
}

/// A chat that the scripted model answers with a text.
fn chat(model: &str, more: &Value) -> Request<Body> {
    let message = json!({"role": "user", "content": "[[model:{\"text\": \"Hi.\"}]]"});
    let mut body = json!({"model": model, "messages": [message]});
    let (Some(fields), Some(more)) = (body.as_object_mut(), more.as_object()) else {
        unreachable!("both are objects");
    };
    fields.extend(more.clone());
    post("/v1/chat/completions", body.to_string())
}

#[tokio::test]
async fn each_listed_id_and_each_effort_of_a_fresh_home_is_served() {
    let (model, sidecar) = start_with_api_key().await;
    let mut client = sidecar.connect().await;
    let default = default_model();
    let mut expected = Vec::new();
    for id in visible_models() {
        let response = client.send(chat(id, &json!({}))).await.unwrap();
        assert_eq!(response.status, 200, "{id}: {response:?}");
        expected.push((id, None));
        for effort in efforts(id) {
            let more = json!({"reasoning_effort": effort});
            let response = client.send(chat(id, &more)).await.unwrap();
            assert_eq!(response.status, 200, "{id} {effort}: {response:?}");
            expected.push((id, Some(effort.as_str())));
        }
    }
    for effort in efforts(default) {
        let id = format!("codex-5-{effort}");
        let response = client.send(chat(&id, &json!({}))).await.unwrap();
        assert_eq!(response.status, 200, "{id}: {response:?}");
        assert_eq!(response.json()["model"], id.as_str());
        expected.push((default, Some(effort.as_str())));
    }
    let requests = model.requests();
    assert_eq!(requests.len(), expected.len());
    for (request, (id, effort)) in requests.iter().zip(expected) {
        assert_eq!(request.body["model"], id);
        let sent = request.body["reasoning"]["effort"].as_str();
        match effort {
            // Codex sends its own default, which is an effort of the model.
            None => assert!(sent.is_some_and(|sent| efforts(id).iter().any(|own| own == sent))),
            // Codex replaces `ultra` by the highest effort that the service knows for the model.
            Some("ultra") => assert!(matches!(sent, Some("max" | "xhigh" | "ultra")), "{sent:?}"),
            effort => assert_eq!(sent, effort, "{id}"),
        }
    }
}

#[tokio::test]
async fn effort_that_the_model_does_not_have_is_rejected_with_its_efforts() {
    let (model, sidecar) = start().await;
    let mut client = sidecar.connect().await;
    let id = default_model();
    let names = efforts(id).join(", ");
    for (id, field, effort) in [
        (id, "reasoning_effort", "minimal"),
        (id, "reasoningEffort", "none"),
        ("codex-5", "reasoning_effort", "huge"),
    ] {
        let response = client
            .send(chat(id, &json!({field: effort})))
            .await
            .unwrap();
        assert_error(&response, 400, "unsupported_value");
        let error = &response.json()["error"];
        assert_eq!(error["param"], field);
        let message = error["message"].as_str().unwrap();
        assert!(message.ends_with(&format!("Use {names}.")), "{message}");
    }
    let body = json!({"model": id, "input": "Hi.", "reasoning": {"effort": "minimal"}});
    let request = post("/v1/responses", body.to_string());
    let response = client.send(request).await.unwrap();
    assert_error(&response, 400, "unsupported_value");
    assert_eq!(response.json()["error"]["param"], "reasoning.effort");
    assert!(model.requests().is_empty());
}

/// Clients of smaller models of OpenAI send `minimal` and `none`, which no model of Codex has.
#[tokio::test]
async fn effort_below_the_lowest_means_the_lowest_for_public_ids() {
    let (model, sidecar) = start().await;
    let mut client = sidecar.connect().await;
    for (id, more, ignored) in [
        (
            "codex-5",
            json!({"reasoning_effort": "minimal"}),
            "reasoning_effort=minimal",
        ),
        (
            "codev-5",
            json!({"reasoning": {"effort": "none"}}),
            "reasoning.effort=none",
        ),
        ("codex-5-minimal", json!({}), "reasoning_effort=minimal"),
    ] {
        let response = client.send(chat(id, &more)).await.unwrap();
        assert_eq!(response.status, 200, "{response:?}");
        assert_eq!(response.header("x-codex-edge-ignored"), ignored);
    }
    let lowest = &efforts(default_model())[0];
    for request in model.requests() {
        assert_eq!(request.body["reasoning"]["effort"], lowest.as_str());
    }
}

/// The filter sends the patterns of the key. With `*-low`, a key may use the lowest effort only, whatever the field that
/// asks for another one and whatever the id.
#[tokio::test]
async fn effort_in_the_body_needs_a_key_that_may_use_the_pair() {
    let added = r#"{"fast": {"model": "gpt-5.5", "effort": "low"}}"#;
    let (model, sidecar) = start_with(|options| {
        options
            .env("CODEX_MODEL", "gpt-5.5")
            .env("PROXY_MODELS", added)
            .env("PROXY_REQUIRE_MODEL", "false")
    })
    .await;
    let mut client = sidecar.connect().await;
    let text = "[[model:{\"text\": \"Hi.\"}]]";
    let request = |path: &str, fields: Value| {
        let mut body = fields;
        match path {
            "/v1/chat/completions" => body["messages"] = json!([{"role": "user", "content": text}]),
            "/v1/responses" => body["input"] = json!(text),
            _ => body["prompt"] = json!(text),
        }
        post(path, body.to_string())
    };
    const CHAT: &str = "/v1/chat/completions";
    for (patterns, path, fields, expected) in [
        (
            "*-low",
            CHAT,
            json!({"model": "codex-5-low", "reasoning_effort": "high"}),
            None,
        ),
        (
            "*-low",
            CHAT,
            json!({"reasoningEffort": "high", "model": "codex-5-low"}),
            None,
        ),
        (
            "*-low",
            CHAT,
            json!({"model": "codex-5-low", "reasoning": {"effort": "high"}}),
            None,
        ),
        (
            "*-low",
            "/v1/responses",
            json!({"model": "codex-5-low", "reasoning": {"effort": "high"}}),
            None,
        ),
        (
            "*-low",
            "/v1/completions",
            json!({"model": "codex-5-low", "reasoning_effort": "high"}),
            // The field is ignored here, so the effort of the id is used.
            Some("low"),
        ),
        (
            "fast",
            CHAT,
            json!({"model": "fast", "reasoning_effort": "high"}),
            None,
        ),
        (
            "codex-5",
            CHAT,
            json!({"model": "codex-5", "reasoning_effort": "high"}),
            None,
        ),
        (
            "*-low",
            CHAT,
            json!({"model": "codex-5-low", "reasoning_effort": "low"}),
            Some("low"),
        ),
        (
            "*-low",
            CHAT,
            json!({"model": "codex-5-low", "reasoning_effort": "minimal"}),
            Some("low"),
        ),
        (
            "fast",
            "/v1/responses",
            json!({"model": "fast"}),
            Some("low"),
        ),
        (
            "codex-5*",
            CHAT,
            json!({"model": "codex-5", "reasoning_effort": "high"}),
            Some("high"),
        ),
        // Without a model the default decides, and `gpt-5.5` has no variants of its own.
        (
            "gpt-5.5",
            CHAT,
            json!({"reasoning_effort": "high"}),
            Some("high"),
        ),
        ("*-low", CHAT, json!({"reasoning_effort": "low"}), None),
    ] {
        let named = request(path, fields.clone());
        let keyed = with(
            with(named, "x-codex-edge-client", "a"),
            "x-codex-edge-models",
            patterns,
        );
        let before = model.requests().len();
        let response = client.send(keyed).await.unwrap();
        match expected {
            None => {
                assert_error(&response, 403, "model_not_allowed");
                assert_eq!(model.requests().len(), before, "{fields}");
            }
            Some(effort) => {
                assert_eq!(response.status, 200, "{fields}: {response:?}");
                let sent = model.requests().pop().unwrap();
                assert_eq!(sent.body["reasoning"]["effort"], effort, "{fields}");
            }
        }
    }
}

#[tokio::test]
async fn refused_model_is_named_with_advice() {
    let (model, sidecar) = start_with_api_key().await;
    let mut client = sidecar.connect().await;
    let [refused, .., served] = visible_models()[..] else {
        panic!("Codex lists several models");
    };
    model.serve_only(served);
    for id in [refused, "codex-5"] {
        let response = client.send(chat(id, &json!({}))).await.unwrap();
        assert_error(&response, 404, "model_not_found");
        let error = &response.json()["error"];
        assert_eq!(error["param"], "model");
        let message = error["message"].as_str().unwrap();
        for part in [refused, "GET /v1/models", "CODEX_MODEL"] {
            assert!(message.contains(part), "{part}: {message}");
        }
    }
    let response = client.send(chat(served, &json!({}))).await.unwrap();
    assert_eq!(response.status, 200, "{response:?}");
}

#[tokio::test]
async fn wildcard_serves_every_unknown_id_under_its_own_name() {
    let [_, second, ..] = visible_models()[..] else {
        panic!("Codex lists several models");
    };
    let own = json!({"*": {"model": second, "effort": "low"}, "gpt-4o": {}});
    let (model, sidecar) =
        start_with(|options| options.env("PROXY_MODELS", &own.to_string())).await;
    let mut client = sidecar.connect().await;
    let default = default_model();
    for (id, expected) in [
        ("claude-opus", second),
        ("gpt-4o", default),
        ("codex-5", default),
    ] {
        let response = client.send(chat(id, &json!({}))).await.unwrap();
        assert_eq!(response.status, 200, "{response:?}");
        assert_eq!(response.json()["model"], id);
        let requests = model.requests();
        assert_eq!(requests.last().unwrap().body["model"], expected);
    }
}

#[tokio::test]
async fn verbosity_and_service_tier_reach_the_model() {
    let (model, sidecar) = start().await;
    let mut client = sidecar.connect().await;
    let settings = json!({"verbosity": "high", "service_tier": "priority"});
    let response = client.send(chat("codex-5", &settings)).await.unwrap();
    assert_eq!(response.status, 200, "{response:?}");
    assert!(response.headers.get("x-codex-edge-ignored").is_none());
    let body = json!({
        "model": "codex-5", "input": "[[model:{\"text\": \"Hi.\"}]]",
        "text": {"verbosity": "medium"}, "service_tier": "priority",
    });
    let request = post("/v1/responses", body.to_string());
    let response = client.send(request).await.unwrap();
    assert_eq!(response.status, 200, "{response:?}");
    let echo = response.json();
    assert_eq!(echo["service_tier"], "priority");
    assert_eq!(echo["text"]["verbosity"], "medium");
    let sent: Vec<_> = model
        .requests()
        .iter()
        .map(|request| {
            let body = &request.body;
            (
                body["text"]["verbosity"].clone(),
                body["service_tier"].clone(),
            )
        })
        .collect();
    assert_eq!(
        sent,
        [
            (json!("high"), json!("priority")),
            (json!("medium"), json!("priority")),
        ]
    );
    let ask_for = async |tier: &str| {
        let response = ask(
            &sidecar,
            json!([{"text": "Hi."}]),
            json!({"service_tier": tier}),
        )
        .await;
        assert_eq!(response.status, 200, "{response:?}");
        let ignored = response.headers.get("x-codex-edge-ignored").cloned();
        let requests = model.requests();
        let sent = requests.last().unwrap().body["service_tier"].clone();
        (sent, ignored)
    };
    assert_eq!(ask_for("flex").await, (json!("flex"), None));
    let (sent, ignored) = ask_for("scale").await;
    assert_eq!(sent, Value::Null);
    assert_eq!(ignored.unwrap(), "service_tier");
    for (field, value) in [("verbosity", "huge"), ("service_tier", "fastest")] {
        let response = client
            .send(chat("codex-5", &json!({field: value})))
            .await
            .unwrap();
        assert_error(&response, 400, "invalid_request_error");
        assert_eq!(response.json()["error"]["param"], field);
    }
}

/// `config.toml` names the model where `CODEX_MODEL` does not.
#[tokio::test]
async fn model_of_config_toml_is_the_default() {
    let model = ScriptedModel::start().await.unwrap();
    let [.., chosen] = visible_models()[..] else {
        panic!("Codex lists several models");
    };
    let config = format!("model = \"{chosen}\"\n{}", provider(&model));
    let sidecar = SidecarOptions::new(&model)
        .env("CODEX_FORCE_PROVIDER", "service")
        .home_file("config.toml", &config)
        .home_file("auth.json", LOGIN)
        .start()
        .await;
    let response = ask(&sidecar, json!([{"text": "Hi."}]), json!({})).await;
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(model.requests()[0].body["model"], chosen);
    let home = fs::read_to_string(sidecar.dir().join("codex-home/config.toml")).unwrap();
    assert!(
        home.starts_with("model = "),
        "the sidecar leaves the operator's file alone"
    );
}
