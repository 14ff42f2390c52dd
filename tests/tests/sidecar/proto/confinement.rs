//! Calls of Codex's own tools by the model, whether offered or not: they neither run a command nor read a file.
//! Without the sidecar's configuration, Codex 0.42 would run most of these commands outside of a sandbox.

use serde_json::{Value, json};
use tests::http::with;
use tests::scripted_model::ScriptedModel;
use tests::sidecar::Sidecar;

use super::fixture::start;
use crate::stack::{ask, assert_error, chat};

const SECRET: &str = "secret-file-content";

/// Makes the model call a tool, and returns the tool's output and the whole input of the next model request.
async fn call(model: &ScriptedModel, sidecar: &Sidecar, tool: Value) -> (String, String) {
    model.clear();
    let script = json!([[tool.clone()], [{"text": "done"}]]);
    let response = ask(sidecar, script, json!({})).await;
    assert_eq!(response.status, 200, "{tool}: {response:?}");
    let requests = model.requests();
    assert_eq!(
        requests.len(),
        2,
        "{tool}: Codex returns the output to the model"
    );
    let sent = &requests[1].body["input"];
    let is_output = |item: &&Value| {
        item["type"]
            .as_str()
            .is_some_and(|kind| kind.ends_with("_output"))
    };
    let outputs: Vec<_> = sent
        .as_array()
        .into_iter()
        .flatten()
        .filter(is_output)
        .map(|item| item["output"].to_string())
        .collect();
    assert_eq!(outputs.len(), 1, "{tool}: {sent}");
    (outputs.concat(), sent.to_string())
}

#[tokio::test]
async fn codex_tools_neither_run_commands_nor_read_files() {
    let (model, sidecar) = start().await;
    let secret_file = sidecar.dir().join("secret.png");
    std::fs::write(&secret_file, SECRET).unwrap();
    let secret = secret_file.to_string_lossy();
    let written = sidecar.dir().join("written");
    let to = written.to_string_lossy();
    let shell = |command: Value| json!({"call": "shell", "arguments": {"command": command}});
    let patch = format!("*** Begin Patch\n*** Add File: {to}\n+x\n*** End Patch");
    let probe =
        format!("*** Begin Patch\n*** Update File: {secret}\n@@\n-{SECRET}\n+x\n*** End Patch");
    for (tool, expected) in [
        (shell(json!(["cat", secret])), "execution error"),
        (
            shell(json!(["bash", "-lc", format!("cat {secret}")])),
            "execution error",
        ),
        (shell(json!(["/bin/cat", secret])), "execution error"),
        (shell(json!(["touch", to])), "execution error"),
        (shell(json!(["apply_patch", patch])), "patch rejected"),
        (shell(json!(["apply_patch", probe])), "Failed to read file"),
        (
            json!({"call": "shell", "arguments": {"command": ["cat", secret], "with_escalated_permissions": true, "justification": "please"}}),
            "approval policy is Never",
        ),
        (
            json!({"call": "exec_command", "arguments": {"cmd": format!("cat {secret}; touch {to}")}}),
            "failed to create exec command session",
        ),
        (
            json!({"call": "unified_exec", "arguments": {"input": ["/bin/sh", "-c", format!("cat {secret}; touch {to}")]}}),
            "unified exec failed",
        ),
        (
            json!({"call": "view_image", "arguments": {"path": secret}}),
            "attached local image path",
        ),
    ] {
        let (output, sent) = call(&model, &sidecar, tool.clone()).await;
        assert!(output.contains(expected), "{tool}: {output}");
        // One patch has the secret in its own arguments, which Codex may repeat in its error.
        let read = output.contains(SECRET) && !tool.to_string().contains(SECRET);
        assert!(!read, "{tool} read the file: {output}");
        assert!(
            !sent.contains("input_image"),
            "{tool} attached the file: {sent}"
        );
        assert!(!written.exists(), "{tool} wrote a file: {output}");
    }
}

#[tokio::test]
async fn config_toml_cannot_enable_codex_tools() {
    let (model, sidecar) = start().await;
    let config = sidecar.dir().join("codex-home/config.toml");
    let mut text = std::fs::read_to_string(&config).unwrap();
    text.push_str(
        "[shell_environment_policy]\ninclude_only = [\"HOME\"]\nexperimental_use_profile = true\n\
         [tools]\nview_image = true\nweb_search = true\n",
    );
    std::fs::write(&config, text).unwrap();
    // Idle children have read the old configuration; three turns use them up.
    for _ in 0..3 {
        ask(&sidecar, json!({"text": "Hi."}), json!({})).await;
    }
    let tool = json!({"call": "shell", "arguments": {"command": ["cat", "/etc/hostname"]}});
    let (output, _) = call(&model, &sidecar, tool).await;
    assert!(output.contains("execution error"), "{output}");
    let tools = model.requests()[0].body["tools"].clone();
    assert_eq!(tools.as_array().map(Vec::len), Some(1), "{tools}");
}

#[tokio::test]
async fn agent_profile_is_rejected_under_proto() {
    let (model, sidecar) = start().await;
    let request = with(
        chat(&json!({"text": "x"}), &json!({})),
        "x-codex-edge-profile",
        "agent",
    );
    let response = sidecar.connect().await.send(request).await.unwrap();
    assert_error(&response, 503, "codex_unavailable");
    assert!(model.requests().is_empty());
}
