//! The Responses API through the whole chain, to the clients that are strictest about it, Codex among them.
//! OpenAI API reference, "Responses"; Open Responses, which `llm-comply` and `openresponses-types` follow.

use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tests::http::DEADLINE;
use tests::scripted_model::Script;
use tokio::process::Command;
use xtask::tools::{Tool, Tools};

use crate::clients::sdks::{python, run_python};
use crate::stack::{KEY, Stack};

#[tokio::test]
async fn openai_python_responds_in_every_way() {
    run_python("responses.py").await;
}

#[tokio::test]
async fn every_object_and_event_is_one_of_open_responses() {
    run_python("open_responses.py").await;
}

/// The cases of `llm-comply` 0.5.0 for the format open-responses.
const CASES: usize = 13;

#[tokio::test]
async fn llm_comply_passes_all_of_its_cases() {
    let stack = Stack::start().await;
    let script = |script: Value| Script::parse(script).expect("is a script");
    stack
        .model
        .set_default(Some(script(json!({"text": "Hello there, friend."}))));
    let list = comply(&stack, &["--list"]).await;
    assert_eq!(list.matches(&"\n  ").count(), 2 * CASES, "{list}");
    stack
        .model
        .set_default(Some(script(json!({"text": "Hello there, friend."}))));
    let mut passed = passed(&comply(&stack, &["--filter", &without_tools(&list)]).await);
    let call = json!({"call": "get_weather", "arguments": {"location": "San Francisco"}});
    stack.model.set_default(Some(script(call)));
    passed += self::passed(&comply(&stack, &["--filter", "tool-calling"]).await);
    assert_eq!(passed, CASES);
}

/// The ids of the cases that want no call.
fn without_tools(list: &str) -> String {
    let ids = list.lines().filter_map(|line| {
        let rest = line.strip_prefix("  ")?;
        rest.split_whitespace()
            .next()
            .filter(|_| !rest.starts_with(' '))
    });
    let ids: Vec<_> = ids.filter(|id| *id != "tool-calling").collect();
    ids.join(",")
}

/// Runs `llm-comply`, which succeeds, and returns what it says. Reasoning is only checked of models named as OpenAI's.
async fn comply(stack: &Stack, arguments: &[&str]) -> String {
    let mut comply = Command::new(python());
    comply.args(["-m", "llm_comply.cli", "--format", "open-responses"]);
    comply.args(["--json", "-m", "gpt-5", "-k", KEY, "-u", &stack.base_url()]);
    comply.args(arguments);
    let output = finish(comply).await;
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    said
}

fn passed(report: &str) -> usize {
    report.matches("\"status\": \"passed\"").count()
}

#[tokio::test]
async fn codex_itself_is_a_client_and_runs_its_tools() {
    let stack = Stack::start().await;
    let home = tempfile::TempDir::new().expect("the temporary folder can be written");
    let config = format!(
        "model = \"codex-5\"\nmodel_provider = \"edge\"\n[model_providers.edge]\nname = \"edge\"\nbase_url = \"{}\"\nenv_key = \"EDGE_KEY\"\nwire_api = \"responses\"\n",
        stack.base_url()
    );
    std::fs::write(home.path().join("config.toml"), config).expect("the folder is ours");
    // Codex would drop a tool of that name, so that the model knows it by another.
    let command = json!({"call": "exec_command_", "arguments": {"cmd": "echo made by $((6 * 7))"}});
    let rounds = json!([[command], [{"text": "The tool has spoken."}]]);
    let mut codex = Command::new(
        Tools::open()
            .executable(Tool::Codex)
            .expect("it was fetched"),
    );
    codex
        .args(["exec", "--skip-git-repo-check", "--ephemeral"])
        .arg("--dangerously-bypass-approvals-and-sandbox")
        .arg(format!("Go. [[model:{rounds}]]"))
        .current_dir(home.path())
        .env("CODEX_HOME", home.path())
        .env("EDGE_KEY", KEY);
    let output = finish(codex).await;
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("The tool has spoken."), "{said}");
    let requests = stack.model.requests();
    assert_eq!(
        requests.len(),
        2,
        "one model request for each of Codex's: {said}"
    );
    let offered = requests[0].body["tools"].to_string();
    assert!(
        offered.contains("\"exec_command_\""),
        "its shell is offered: {offered}"
    );
    let sent = requests[1].body["input"].to_string();
    assert!(sent.contains("made by 42"), "its shell ran: {sent}");
}

async fn finish(mut client: Command) -> Output {
    client.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(DEADLINE * 3, client.output()).await;
    output.expect("the client ends").expect("it is there")
}

fn text(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
