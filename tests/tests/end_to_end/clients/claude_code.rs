//! Claude Code, Anthropic's agent, through Envoy, the filter, the sidecar and Codex: it reads and edits a file.
//! Claude Code 2.1, print mode (`claude --help`); its telemetry, updates and other requests are off.

use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::scripted_model::Script;
use tokio::process::Command;
use xtask::tools::Tools;

use crate::clients::sdks::RUN;
use crate::stack::{Chain, KEY};

/// A name of Anthropic's, which the operator's wildcard gives to a model of Codex.
const MODEL: &str = "claude-sonnet-4-5";

/// The text that the file has first, and after the edit.
const BEFORE: &str = "The sky is green.\n";
const AFTER: &str = "The sky is blue.\n";

/// The program for this processor.
fn claude() -> PathBuf {
    let clients = Tools::open()
        .node_clients()
        .expect("the clients were fetched: `cargo xtask fetch`");
    let arch = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "x64",
    };
    let package = format!("node_modules/@anthropic-ai/claude-code-linux-{arch}/claude");
    clients.join(package)
}

/// Runs Claude Code in `dir` with a prompt, and returns its result as JSON.
async fn run(chain: &Chain, dir: &TempDir, prompt: &str) -> Value {
    let home = TempDir::new().expect("the temporary folder is writable");
    let mut program = Command::new(claude());
    program
        .args(["--print", prompt, "--model", MODEL])
        .args(["--output-format", "json", "--allowedTools", "Read,Edit"])
        .current_dir(dir.path())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home.path())
        .env(
            "ANTHROPIC_BASE_URL",
            chain.base_url().trim_end_matches("/v1"),
        )
        .env("ANTHROPIC_API_KEY", KEY)
        .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
        .env("DISABLE_TELEMETRY", "1")
        .env("DISABLE_AUTOUPDATER", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(RUN, program.output())
        .await
        .expect("Claude Code exits in time")
        .expect("Claude Code is executable");
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[tokio::test]
async fn claude_code_reads_and_edits_a_file() {
    let chain = Chain::start_with_alias("*").await;
    let dir = TempDir::new().expect("the temporary folder is writable");
    let file = dir.path().join("sky.txt");
    std::fs::write(&file, BEFORE).expect("the temporary folder is writable");
    let read = json!({"call": "Read", "call_id": "call_read", "arguments": {"file_path": file}});
    let edit = json!({"call": "Edit", "call_id": "call_edit", "arguments": {
        "file_path": file, "old_string": "green", "new_string": "blue", "replace_all": false,
    }});
    let think = json!({"reasoning": ["The sky is not green."], "encrypted_content": "gAAA"});
    let rounds =
        json!([[think, {"text": "I read it."}, read], [edit], [{"text": "It is blue now."}]]);
    let other = Script::parse(json!({"text": "Something else."})).expect("the script is valid");
    chain.model.set_default(Some(other));
    let result = run(&chain, &dir, &format!("Mend the file. [[model:{rounds}]]")).await;
    assert_eq!(result["result"], "It is blue now.", "{result}");
    assert_eq!(result["is_error"], false, "{result}");
    let text = std::fs::read_to_string(&file).expect("the file is there");
    assert_eq!(text, AFTER);
    let requests = chain.model.requests();
    let last = requests.last().expect("the model received a request");
    let items = last.conversation();
    let kinds: Vec<_> = items
        .iter()
        .filter_map(|item| item["type"].as_str())
        .collect();
    let calls = kinds.iter().filter(|kind| **kind == "function_call_output");
    assert_eq!(calls.count(), 2, "{kinds:?}");
    let read = items
        .iter()
        .find(|item| item["call_id"] == "call_read" && item["type"] == "function_call_output");
    let output = read.expect("the file was read")["output"].to_string();
    assert!(output.contains("The sky is green."), "{output}");
    let all = last.body.to_string();
    assert!(
        !all.contains("x-anthropic-billing-header"),
        "the block is not for the model"
    );
    let logged = chain.requests_logged();
    let paths = logged
        .iter()
        .filter(|line| line["span"]["path"] == "/v1/messages");
    assert!(paths.count() >= 3, "{logged:?}");
}
