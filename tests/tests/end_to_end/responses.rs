//! The Responses API through the whole chain, with the clients that are strictest about it, among them Codex.
//! OpenAI API reference, "Responses"; Open Responses, the specification behind `llm-comply` and `openresponses-types`.

use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tests::http::DEADLINE;
use tests::scripted_model::Script;
use tokio::process::Command;
use xtask::tools::{Tool, Tools};

use crate::clients::sdks::{python, run_python};
use crate::stack::{Chain, KEY};

#[tokio::test]
async fn openai_python_uses_the_responses_api() {
    run_python("responses.py").await;
}

#[tokio::test]
async fn every_object_and_event_matches_open_responses() {
    run_python("open_responses.py").await;
}

/// The number of cases that `llm-comply` 0.5.0 has for the format open-responses.
const CASES: usize = 13;

#[tokio::test]
async fn llm_comply_passes_every_responses_case() {
    let chain = Chain::start().await;
    let script = |script: Value| Script::parse(script).expect("the script is valid");
    chain
        .model
        .set_default(Some(script(json!({"text": "Hello there, friend."}))));
    let list = comply(&chain, &["--list"]).await;
    assert_eq!(list.matches(&"\n  ").count(), 2 * CASES, "{list}");
    chain
        .model
        .set_default(Some(script(json!({"text": "Hello there, friend."}))));
    let without_calls = comply(&chain, &["--filter", &without_tools(&list)]).await;
    let call = json!({"call": "get_weather", "arguments": {"location": "San Francisco"}});
    chain.model.set_default(Some(script(call)));
    let with_calls = comply(&chain, &["--filter", "tool-calling"]).await;
    assert_eq!(passed(&without_calls) + passed(&with_calls), CASES);
}

/// The ids of all cases but `tool-calling`, which needs a model that calls a tool.
fn without_tools(list: &str) -> String {
    let id = |line: &str| -> Option<String> {
        let rest = line.strip_prefix("  ")?;
        let word = rest.split_whitespace().next()?;
        (!rest.starts_with(' ')).then(|| word.to_owned())
    };
    list.lines()
        .filter_map(id)
        .filter(|id| id != "tool-calling")
        .collect::<Vec<_>>()
        .join(",")
}

/// Runs `llm-comply`, which must succeed, and returns its output. The model is called `gpt-5` because `llm-comply` checks
/// reasoning only for OpenAI's model names.
async fn comply(chain: &Chain, arguments: &[&str]) -> String {
    let mut comply = Command::new(python());
    comply.args(["-m", "llm_comply.cli", "--format", "open-responses"]);
    comply.args(["--json", "-m", "gpt-5", "-k", KEY, "-u", &chain.base_url()]);
    comply.args(arguments);
    let output = finish(comply).await;
    let printed = text(&output);
    assert!(output.status.success(), "{printed}");
    printed
}

fn passed(report: &str) -> usize {
    report.matches("\"status\": \"passed\"").count()
}

#[tokio::test]
async fn codex_as_a_client_runs_its_own_tools() {
    let chain = Chain::start().await;
    let home = tempfile::TempDir::new().expect("the temporary folder is writable");
    let config = format!(
        "model = \"codex-5\"\nmodel_provider = \"edge\"\n[model_providers.edge]\nname = \"edge\"\nbase_url = \"{}\"\nenv_key = \"EDGE_KEY\"\nwire_api = \"responses\"\n",
        chain.base_url()
    );
    std::fs::write(home.path().join("config.toml"), config).expect("the test folder is writable");
    // Codex behind the sidecar would drop a client tool called `exec_command`, so the sidecar appends an underscore.
    let command = json!({"call": "exec_command_", "arguments": {"cmd": "echo made by $((6 * 7))"}});
    let rounds = json!([[command], [{"text": "The tool has spoken."}]]);
    let mut codex = Command::new(
        Tools::open()
            .executable(Tool::Codex)
            .expect("Codex was fetched: `cargo xtask fetch`"),
    );
    codex
        .args(["exec", "--skip-git-repo-check", "--ephemeral"])
        .arg("--dangerously-bypass-approvals-and-sandbox")
        .arg(format!("Go. [[model:{rounds}]]"))
        .current_dir(home.path())
        .env("CODEX_HOME", home.path())
        .env("EDGE_KEY", KEY);
    let output = finish(codex).await;
    let printed = text(&output);
    assert!(output.status.success(), "{printed}");
    assert!(printed.contains("The tool has spoken."), "{printed}");
    let requests = chain.model.requests();
    assert_eq!(
        requests.len(),
        2,
        "one model request for each request of the client: {printed}"
    );
    let offered = requests[0].body["tools"].to_string();
    assert!(
        offered.contains("\"exec_command_\""),
        "the client's shell tool is offered: {offered}"
    );
    let sent = requests[1].body["input"].to_string();
    assert!(
        sent.contains("made by 42"),
        "the client's shell tool has run: {sent}"
    );
}

async fn finish(mut client: Command) -> Output {
    client.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(DEADLINE * 3, client.output()).await;
    output
        .expect("the client exits in time")
        .expect("the client is executable")
}

fn text(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
