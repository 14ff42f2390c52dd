//! The `agent` profile: Codex's own tools, in the sandbox that was asked for and in a folder that is gone afterwards.

use serde_json::json;
use tests::http::{BufferedResponse, with};
use tests::scripted_model::ScriptedModel;
use tests::sidecar::{Sidecar, SidecarOptions};

use crate::stack::{SOON, assert_error, chat, start_with};

/// Has the model run `command` and then say `done`, for a key of the agent profile.
async fn run(sidecar: &Sidecar, command: &str) -> BufferedResponse {
    let call = json!({"call": "exec_command", "arguments": {"cmd": command}});
    let request = chat(&json!([[call], [{"text": "done"}]]), &json!({}));
    let request = with(request, "x-codex-edge-profile", "agent");
    sidecar
        .connect()
        .await
        .send(request)
        .await
        .expect("an answer")
}

/// What the command wrote, as the model was told.
fn output(model: &ScriptedModel) -> String {
    let requests = model.requests();
    let sent = &requests.last().expect("the model was asked").body["input"];
    let items = sent.as_array().into_iter().flatten();
    let outputs = items.filter(|item| item["type"] == "function_call_output");
    outputs.filter_map(|item| item["output"].as_str()).collect()
}

#[tokio::test]
async fn an_agent_may_do_what_its_sandbox_allows_and_no_more() {
    const COMMAND: &str =
        "pwd; touch here && echo wrote here; touch \"$HOME/x\" && echo wrote home; env";
    for (mode, here, home) in [
        ("read-only", false, false),
        ("workspace-write", true, false),
        ("danger-full-access", true, true),
    ] {
        let elsewhere = tempfile::tempdir().unwrap();
        let elsewhere = elsewhere.path().to_string_lossy().into_owned();
        let (model, sidecar) = start_with(|options: SidecarOptions| {
            options
                .env("PROXY_SANDBOX_MODE", mode)
                .env("HOME", &elsewhere)
                .env("PROXY_API_KEY", "a-key-of-ours")
        })
        .await;
        let answer = run(&sidecar, COMMAND).await;
        assert_eq!(
            answer.json()["choices"][0]["message"]["content"],
            "done",
            "{answer:?}"
        );
        let said = output(&model);
        assert_eq!(said.contains("wrote here"), here, "{mode}: {said}");
        assert_eq!(said.contains("wrote home"), home, "{mode}: {said}");
        assert!(
            !said.contains("a-key-of-ours"),
            "{mode}: no key of ours reaches a child"
        );
        let folder = said
            .lines()
            .find(|line| line.contains("/turn-"))
            .expect("a folder of its own");
        let removed = async {
            while std::path::Path::new(folder.trim()).exists() {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        let removed = tokio::time::timeout(SOON, removed).await;
        assert!(removed.is_ok(), "{folder} is left");
    }
}

#[tokio::test]
async fn a_plain_model_has_no_tool_to_run() {
    let (_model, sidecar) = start_with(|options| options).await;
    let call = json!({"call": "exec_command", "arguments": {"cmd": "echo ran"}});
    let request = chat(&json!([[call], [{"text": "done"}]]), &json!({}));
    let answer = sidecar.connect().await.send(request).await.unwrap();
    assert_error(&answer, 502, "codex_failed");
    let message = answer.json()["error"]["message"].clone();
    assert!(
        message.as_str().unwrap().contains("allows none"),
        "{message}"
    );
}

#[tokio::test]
async fn an_agent_is_refused_where_its_sandbox_does_not_work() {
    let model = ScriptedModel::start().await.unwrap();
    let faulty = crate::lifecycle::workers::Faulty::new_for("sandbox", "echo ok; echo escaped");
    let sidecar = faulty.options(&model).start().await;
    let refused = run(&sidecar, "echo ran").await;
    assert_error(&refused, 503, "codex_unavailable");
    assert!(
        refused.json()["error"]["message"]
            .as_str()
            .unwrap()
            .contains("sandbox")
    );
    assert_eq!(model.requests().len(), 0);
    let plain = chat(&json!({"text": "Hi."}), &json!({}));
    assert_eq!(
        sidecar.connect().await.send(plain).await.unwrap().status,
        200
    );
}
