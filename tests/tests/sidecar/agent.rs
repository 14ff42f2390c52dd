//! The `agent` profile: Codex's own tools, in the configured sandbox and in a folder that the sidecar removes afterwards.

use serde_json::json;
use tests::http::{BufferedResponse, with};
use tests::scripted_model::ScriptedModel;
use tests::sidecar::{Sidecar, SidecarOptions};

use crate::stack::{SOON, assert_error, chat, start_with};

/// Makes the model call a tool with `command` and then reply `done`, for a client with the agent profile.
async fn run(sidecar: &Sidecar, command: &str) -> BufferedResponse {
    let call = json!({"call": "exec_command", "arguments": {"cmd": command}});
    let request = with(
        chat(&json!([[call], [{"text": "done"}]]), &json!({})),
        "x-codex-edge-profile",
        "agent",
    );
    sidecar
        .connect()
        .await
        .send(request)
        .await
        .expect("a response arrives")
}

/// The output of the command that Codex sent to the model.
pub(crate) fn command_output(model: &ScriptedModel) -> String {
    let requests = model.requests();
    let sent = &requests.last().expect("the model received a request").body["input"];
    let items = sent.as_array().into_iter().flatten();
    let outputs = items.filter(|item| item["type"] == "function_call_output");
    outputs.filter_map(|item| item["output"].as_str()).collect()
}

#[tokio::test]
async fn agent_is_confined_to_its_sandbox_mode() {
    const COMMAND: &str =
        "pwd; touch here && echo wrote here; touch \"$HOME/x\" && echo wrote home; env";
    for (mode, here, home) in [
        ("read-only", false, false),
        ("workspace-write", true, false),
        ("danger-full-access", true, true),
    ] {
        let home_folder = tempfile::tempdir().unwrap();
        let home_path = home_folder.path().to_string_lossy().into_owned();
        let (model, sidecar) = start_with(|options: SidecarOptions| {
            options
                .env("PROXY_SANDBOX_MODE", mode)
                .env("HOME", &home_path)
                .env("PROXY_API_KEY", "an-operator-key")
        })
        .await;
        let response = run(&sidecar, COMMAND).await;
        assert_eq!(
            response.json()["choices"][0]["message"]["content"],
            "done",
            "{response:?}"
        );
        let output = command_output(&model);
        assert_eq!(output.contains("wrote here"), here, "{mode}: {output}");
        assert_eq!(output.contains("wrote home"), home, "{mode}: {output}");
        assert!(
            !output.contains("an-operator-key"),
            "{mode}: the operator's key is not in the environment of a child"
        );
        let folder = output
            .lines()
            .find(|line| line.contains("/turn-"))
            .expect("the turn has a folder of its own");
        let removal = async {
            while std::path::Path::new(folder.trim()).exists() {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        let removed = tokio::time::timeout(SOON, removal).await;
        assert!(removed.is_ok(), "{folder} was not removed");
    }
}

#[tokio::test]
async fn plain_profile_cannot_run_codex_tools() {
    let (_model, sidecar) = start_with(|options| options).await;
    let call = json!({"call": "exec_command", "arguments": {"cmd": "echo ran"}});
    let request = chat(&json!([[call], [{"text": "done"}]]), &json!({}));
    let response = sidecar.connect().await.send(request).await.unwrap();
    assert_error(&response, 502, "codex_failed");
    let message = response.json()["error"]["message"].clone();
    assert!(
        message.as_str().unwrap().contains("allows none"),
        "{message}"
    );
}

#[tokio::test]
async fn agent_is_rejected_when_its_sandbox_does_not_work() {
    let model = ScriptedModel::start().await.unwrap();
    let faulty =
        crate::lifecycle::workers::FaultyCodex::new_for("sandbox", "echo ok; echo escaped");
    let sidecar = faulty.options(&model).start().await;
    let rejected = run(&sidecar, "echo ran").await;
    assert_error(&rejected, 503, "codex_unavailable");
    assert!(
        rejected.json()["error"]["message"]
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
