//! Codex as a client of the Responses API, in the versions with an app-server.
//! Follows `codex exec --help` and `model_providers` of Codex's `config.toml`.

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::sidecar::{codex_binary, codex_tool};
use tokio::process::Command;
use xtask::tools::Tool;
use xtask::workspace;

use super::program::{finish, text};
use crate::stack::{Chain, KEY};

/// The settings for retries in `docs/clients.md`.
const RETRIES: &str = "request_max_retries = 0\nstream_max_retries = 1\n";

/// Runs `codex exec` with `arguments` and a prompt that makes the model play `rounds`; returns its output.
async fn codex_exec(chain: &Chain, tool: Tool, arguments: &[&str], rounds: &Value) -> String {
    let (succeeded, printed) = run_codex_exec(chain, tool, arguments, rounds).await;
    assert!(succeeded, "{printed}");
    printed
}

/// Returns whether `codex exec` succeeded, and its output.
async fn run_codex_exec(
    chain: &Chain,
    tool: Tool,
    arguments: &[&str],
    rounds: &Value,
) -> (bool, String) {
    let home = TempDir::new().expect("the temporary folder is writable");
    let config = format!(
        "model = \"codex-5\"\nmodel_provider = \"edge\"\n[model_providers.edge]\nname = \"edge\"\nbase_url = \"{}\"\nenv_key = \"EDGE_KEY\"\nwire_api = \"responses\"\n{RETRIES}",
        chain.base_url()
    );
    std::fs::write(home.path().join("config.toml"), config).expect("the test folder is writable");
    let mut codex = Command::new(codex_binary(tool));
    codex
        .args(["exec", "--skip-git-repo-check", "--ephemeral"])
        .arg("--dangerously-bypass-approvals-and-sandbox")
        .args(arguments)
        .arg(format!("Go. [[model:{rounds}]]"))
        .current_dir(home.path())
        .env("CODEX_HOME", home.path())
        .env("EDGE_KEY", KEY);
    let output = finish(codex).await;
    (output.status.success(), text(&output))
}

/// The effort of every run: the highest that all models of both versions have.
const EFFORT: [&str; 2] = ["-c", "model_reasoning_effort=xhigh"];

/// Runs both versions of Codex with `model`; the model calls a tool that echoes "made by 42". Returns the names of the
/// tools that were offered to the model in the last run.
async fn codex_runs_a_command(model: &str, command: &Value) -> Vec<String> {
    let mut names = Vec::new();
    for tool in [Tool::Codex, Tool::CodexOldest] {
        let chain = Chain::start().await;
        let rounds = json!([[command], [{"text": "The tool has spoken."}]]);
        let arguments = [["-m", model], EFFORT].concat();
        let printed = codex_exec(&chain, tool, &arguments, &rounds).await;
        assert!(printed.contains("The tool has spoken."), "{printed}");
        let requests = chain.model.requests();
        assert_eq!(
            requests.len(),
            2,
            "one model request for each request of the client: {printed}"
        );
        assert_eq!(requests[0].body["reasoning"]["effort"], "xhigh");
        let sent = requests[1].body["input"].to_string();
        assert!(
            sent.contains("made by 42"),
            "the client's tool has run: {sent}"
        );
        let offered = requests[0].offered_tools();
        names = offered
            .iter()
            .map(|tool| tool["name"].as_str().unwrap_or_default().to_owned())
            .collect();
    }
    names
}

#[tokio::test]
async fn codex_as_a_client_runs_its_own_tools() {
    // Codex behind the sidecar would drop a client tool called `exec_command`, so the sidecar appends an underscore.
    let command = json!({"call": "exec_command_", "arguments": {"cmd": "echo made by $((6 * 7))"}});
    let offered = codex_runs_a_command("codex-5", &command).await;
    for name in ["exec_command_", "view_image", "spawn_agent"] {
        assert!(
            offered.iter().any(|other| other == name),
            "{name} in {offered:?}"
        );
    }
}

#[tokio::test]
async fn codex_as_a_client_runs_its_own_tools_for_a_model_with_additional_tools() {
    // Codex sends no field `tools` for this model, and its shell can be reached only from the custom tool `exec`.
    let script = "text(await tools.exec_command({cmd: \"echo made by $((6 * 7))\"}))";
    let command = json!({"call": "exec", "arguments": {"input": script}});
    let offered = codex_runs_a_command("gpt-6.1-sol", &command).await;
    for name in ["exec", "wait", "spawn_agent"] {
        assert!(
            offered.iter().any(|other| other == name),
            "{name} in {offered:?}"
        );
    }
}

#[tokio::test]
async fn call_in_a_namespace_reaches_codex_as_a_client() {
    let list = json!({"call": "list_agents", "namespace": "client_collaboration", "arguments": {}});
    for tool in [Tool::Codex, Tool::CodexOldest] {
        let chain = Chain::start().await;
        let rounds = json!([[list], [{"text": "Listed."}]]);
        let printed = codex_exec(&chain, tool, &["-m", "gpt-6.1-sol"], &rounds).await;
        assert!(printed.contains("Listed."), "{printed}");
        let requests = chain.model.requests();
        let items = requests[1].conversation();
        let call = items.iter().find(|item| item["type"] == "function_call");
        assert_eq!(
            call.expect("the call is in the history")["namespace"],
            "client_collaboration"
        );
        let output = items
            .iter()
            .find(|item| item["type"] == "function_call_output");
        let output = output.expect("the call has an output")["output"].to_string();
        assert!(
            output.contains("/root"),
            "the client has listed its agents: {output}"
        );
    }
}

#[tokio::test]
async fn codex_as_a_client_falls_back_from_a_websocket_at_once() {
    let chain = Chain::start().await;
    let websockets = ["-c", "model_providers.edge.supports_websockets=true"];
    let rounds = json!({"text": "Over plain HTTP."});
    let printed = codex_exec(&chain, codex_tool(), &websockets, &rounds).await;
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

#[tokio::test]
async fn codex_as_a_client_warns_of_an_id_that_it_does_not_know() {
    let chain = Chain::start().await;
    for tool in [Tool::Codex, Tool::CodexOldest] {
        for (model, warns) in [("codex-5", true), ("gpt-6.1-sol", false)] {
            let rounds = json!([{"text": "Hello."}]);
            let printed = codex_exec(&chain, tool, &["-m", model], &rounds).await;
            let warning = format!("Model metadata for `{model}` not found");
            assert_eq!(printed.contains(&warning), warns, "{printed}");
        }
    }
}

#[tokio::test]
async fn codex_as_a_client_repeats_what_may_succeed_and_nothing_else() {
    // The Codex behind the sidecar asks the model up to three times for a request, but once after the first text.
    for (script, requests) in [
        (json!({"status": 400, "error": {"message": "Bad."}}), 1),
        (
            json!({"status": 429, "error": {"type": "usage_limit_reached"}}),
            1,
        ),
        (json!({"status": 500}), 2 * 3),
        (json!([{"text": "par"}, {"cut": "abort"}]), 2),
    ] {
        let chain = Chain::start().await;
        let arguments = ["-m", "gpt-6.1-sol"];
        let (succeeded, printed) = run_codex_exec(&chain, Tool::Codex, &arguments, &script).await;
        assert!(!succeeded, "{printed}");
        assert_eq!(chain.model.requests().len(), requests, "{script} {printed}");
    }
    let page = std::fs::read_to_string(workspace::root().join("docs/clients.md"));
    assert!(page.expect("the page is readable").contains(RETRIES));
}
