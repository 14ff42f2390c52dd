//! A model that calls Codex's tools, offered or not, runs nothing on this machine and reads nothing of it.
//! Codex 0.42 alone would run most of these commands, without a sandbox.

use serde_json::{Value, json};
use tests::http::with;
use tests::scripted_model::ScriptedModel;
use tests::sidecar::Sidecar;

use super::start;
use crate::stack::{ask, assert_error, chat};

const SECRET: &str = "nobody-may-read-this";

/// Has the model call a tool, and returns what it is told about it and what else it is sent.
async fn call(model: &ScriptedModel, sidecar: &Sidecar, tool: Value) -> (String, String) {
    model.clear();
    let script = json!([[tool.clone()], [{"text": "done"}]]);
    let answer = ask(sidecar, script, json!({})).await;
    assert_eq!(answer.status, 200, "{tool}: {answer:?}");
    let requests = model.requests();
    assert_eq!(requests.len(), 2, "{tool}: it is told and goes on");
    let sent = &requests[1].body["input"];
    let items = sent.as_array().into_iter().flatten();
    let output = items.filter(|item| {
        item["type"]
            .as_str()
            .is_some_and(|kind| kind.ends_with("_output"))
    });
    let output: Vec<_> = output.map(|item| item["output"].to_string()).collect();
    assert_eq!(output.len(), 1, "{tool}: {sent}");
    (output.concat(), sent.to_string())
}

#[tokio::test]
async fn no_tool_of_codex_can_do_anything() {
    let (model, sidecar) = start().await;
    let secret = sidecar.dir().join("secret.png");
    std::fs::write(&secret, SECRET).unwrap();
    let secret = secret.to_string_lossy();
    let written = sidecar.dir().join("written");
    let to = written.to_string_lossy();
    let shell = |command: Value| json!({"call": "shell", "arguments": {"command": command}});
    let patch = format!("*** Begin Patch\n*** Add File: {to}\n+x\n*** End Patch");
    let probe =
        format!("*** Begin Patch\n*** Update File: {secret}\n@@\n-{SECRET}\n+x\n*** End Patch");
    for (tool, told) in [
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
        assert!(output.contains(told), "{tool}: {output}");
        let read = output.contains(SECRET) && !tool.to_string().contains(SECRET);
        assert!(!read, "{tool} read it: {output}");
        assert!(!sent.contains("input_image"), "{tool} attached it: {sent}");
        assert!(!written.exists(), "{tool} wrote it: {output}");
    }
}

#[tokio::test]
async fn nothing_that_the_operator_configures_opens_the_way() {
    let (model, sidecar) = start().await;
    let config = sidecar.dir().join("codex-home/config.toml");
    let mut text = std::fs::read_to_string(&config).unwrap();
    text.push_str(
        "[shell_environment_policy]\ninclude_only = [\"HOME\"]\nexperimental_use_profile = true\n\
         [tools]\nview_image = true\nweb_search = true\n",
    );
    std::fs::write(&config, text).unwrap();
    for _ in 0..3 {
        ask(
            &sidecar,
            json!({"text": "The next children have read it."}),
            json!({}),
        )
        .await;
    }
    let tool = json!({"call": "shell", "arguments": {"command": ["cat", "/etc/hostname"]}});
    let (output, _) = call(&model, &sidecar, tool).await;
    assert!(output.contains("execution error"), "{output}");
    let tools = model.requests()[0].body["tools"].clone();
    assert_eq!(tools.as_array().map(Vec::len), Some(1), "{tools}");
}

#[tokio::test]
async fn an_agent_is_refused_since_no_sandbox_can_hold_it() {
    let (model, sidecar) = start().await;
    let request = chat(&json!({"text": "x"}), &json!({}));
    let request = with(request, "x-codex-edge-profile", "agent");
    let answer = sidecar.connect().await.send(request).await.unwrap();
    assert_error(&answer, 503, "codex_unavailable");
    assert!(model.requests().is_empty());
}
