//! Codex as a client of the Responses API, in the versions with an app-server.
//! Follows `codex exec --help` and `model_providers` of Codex's `config.toml`.

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::sidecar::{codex_binary, codex_tool};
use tokio::process::Command;

use super::program::{finish, text};
use crate::stack::{Chain, KEY};

/// Runs `codex exec` with `arguments` and a prompt that makes the model play `rounds`; returns its output.
async fn codex_exec(chain: &Chain, arguments: &[&str], rounds: &Value) -> String {
    let home = TempDir::new().expect("the temporary folder is writable");
    let config = format!(
        "model = \"codex-5\"\nmodel_provider = \"edge\"\n[model_providers.edge]\nname = \"edge\"\nbase_url = \"{}\"\nenv_key = \"EDGE_KEY\"\nwire_api = \"responses\"\n",
        chain.base_url()
    );
    std::fs::write(home.path().join("config.toml"), config).expect("the test folder is writable");
    let mut codex = Command::new(codex_binary(codex_tool()));
    codex
        .args(["exec", "--skip-git-repo-check", "--ephemeral"])
        .arg("--dangerously-bypass-approvals-and-sandbox")
        .args(arguments)
        .arg(format!("Go. [[model:{rounds}]]"))
        .current_dir(home.path())
        .env("CODEX_HOME", home.path())
        .env("EDGE_KEY", KEY);
    let output = finish(codex).await;
    let printed = text(&output);
    assert!(output.status.success(), "{printed}");
    printed
}

#[tokio::test]
async fn codex_as_a_client_runs_its_own_tools() {
    let chain = Chain::start().await;
    // Codex behind the sidecar would drop a client tool called `exec_command`, so the sidecar appends an underscore.
    let command = json!({"call": "exec_command_", "arguments": {"cmd": "echo made by $((6 * 7))"}});
    let rounds = json!([[command], [{"text": "The tool has spoken."}]]);
    let printed = codex_exec(&chain, &[], &rounds).await;
    assert!(printed.contains("The tool has spoken."), "{printed}");
    let requests = chain.model.requests();
    assert_eq!(
        requests.len(),
        2,
        "one model request for each request of the client: {printed}"
    );
    let offered = requests[0].offered_tools();
    assert!(
        offered.iter().any(|tool| tool["name"] == "exec_command_"),
        "the client's shell tool is offered: {offered:?}"
    );
    let sent = requests[1].body["input"].to_string();
    assert!(
        sent.contains("made by 42"),
        "the client's shell tool has run: {sent}"
    );
}

#[tokio::test]
async fn codex_as_a_client_falls_back_from_a_websocket_at_once() {
    let chain = Chain::start().await;
    let websockets = ["-c", "model_providers.edge.supports_websockets=true"];
    let rounds = json!({"text": "Over plain HTTP."});
    let printed = codex_exec(&chain, &websockets, &rounds).await;
    assert!(printed.contains("Over plain HTTP."), "{printed}");
    // The last request of the client.
    chain
        .envoy
        .access_log_entry(|entry| entry["method"] == "POST")
        .await;
    let attempts: Vec<_> = chain
        .envoy
        .access_log()
        .iter()
        .filter(|entry| entry["path"] == "/v1/responses")
        .map(|entry| (entry["method"].clone(), entry["status"].clone()))
        .collect();
    let expected = [(json!("GET"), json!(426)), (json!("POST"), json!(200))];
    assert_eq!(attempts, expected, "{printed}");
}
