//! The official SDKs and schemathesis against the chain, as their users run them.
//! The scripts are in `tests/clients`. Each asserts the behaviour that its users rely on, and exits with 0 on success.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;
use tests::scripted_model::Script;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use xtask::tools::Tools;
use xtask::workspace;

use crate::stack::{Chain, KEY};

/// Deadline of a client script. On two idle cores the slowest script takes a quarter of this time.
pub(crate) const RUN: Duration = Duration::from_secs(120);

#[tokio::test]
async fn openai_python_uses_chat_completions() {
    run_python("chat.py").await;
}

#[tokio::test]
async fn openai_python_raises_typed_errors_and_retries() {
    run_python("errors.py").await;
}

#[tokio::test]
async fn langchain_and_litellm_raise_typed_errors_and_fall_back() {
    run_python("other_clients.py").await;
}

#[tokio::test]
async fn openai_python_runs_a_tool_loop_across_a_restart() {
    run_python("tool_loop.py").await;
}

#[tokio::test]
async fn responses_match_the_openapi_document() {
    run_python("openapi.py").await;
}

#[tokio::test]
async fn responses_to_generated_requests_match_the_openapi_document() {
    run_python("fuzz.py").await;
}

#[tokio::test]
async fn anthropic_python_uses_the_messages_api() {
    run_python("anthropic_sdk.py").await;
}

#[tokio::test]
async fn anthropic_node_uses_the_messages_api() {
    run_node("messages.mjs").await;
}

#[tokio::test]
async fn openai_node_chats_runs_tools_and_disconnects() {
    run_node("chat.mjs").await;
}

/// Runs a script in `tests/clients/node`, and asserts that it succeeds.
async fn run_node(name: &str) {
    let clients = Tools::open()
        .node_clients()
        .expect("the clients were fetched: `cargo xtask fetch`");
    // Node resolves packages relative to the script, so the test runs a copy next to `node_modules`.
    let script =
        std::fs::read(clients_folder().join("node").join(name)).expect("the script is readable");
    let copy = tempfile::Builder::new()
        .suffix(".mjs")
        .tempfile_in(&clients)
        .expect("the test folder is writable");
    std::fs::write(copy.path(), script).expect("the test folder is writable");
    let mut chain = start().await;
    run(&mut chain, Path::new("node"), copy.path()).await;
}

/// Runs a script in `tests/clients/python`, and asserts that it succeeds.
pub(crate) async fn run_python(script: &str) {
    let path = clients_folder().join("python").join(script);
    run(&mut start().await, &python(), &path).await;
}

/// The Python interpreter of the environment with the pinned clients.
pub(crate) fn python() -> PathBuf {
    let python = Tools::open().python();
    python.expect("the clients were fetched: `cargo xtask fetch`")
}

/// Starts the chain with the keys of the scripts. For a prompt without a script, the model runs in its `auto` mode.
pub(crate) async fn start() -> Chain {
    let keys = json!([
        {"id": "low", "key": "sk-low", "models": ["*-low"]},
        {"id": "slow", "key": "sk-slow", "rate_limit": {"requests": 1, "window_ms": 2000}},
    ]);
    let chain = Chain::start_with(|options| options.filter("keys", keys)).await;
    respond_as_a_small_model(&chain);
    chain
}

/// Sets the model's `auto` mode for prompts without a script.
pub(crate) fn respond_as_a_small_model(chain: &Chain) {
    let script = Script::parse(json!({"auto": "Hello there.", "delta_chars": 4}))
        .expect("the script is valid");
    chain.model.set_default(Some(script));
}

/// Runs a script and asserts that it succeeds. The script writes commands for the chain to its standard output, and
/// the reason of a failure to its standard error.
async fn run(chain: &mut Chain, interpreter: &Path, script: &Path) {
    let control = format!("http://{}/__control", chain.model.address());
    let mut client = Command::new(interpreter)
        .arg(script)
        .args([&chain.base_url(), KEY, &control])
        // Python would write compiled modules next to the scripts, into the source tree.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the interpreter is installed");
    let mut stderr = client.stderr.take().expect("stderr is piped");
    let mut errors = String::new();
    let ended = tokio::time::timeout(RUN, async {
        // Both pipes must be read at once: a script that fills one of them would block.
        let (_, read) = tokio::join!(
            execute_commands(chain, &mut client),
            stderr.read_to_string(&mut errors)
        );
        read.expect("stderr is UTF-8");
        client.wait().await.expect("the client was not reaped")
    });
    let status = ended.await.expect("the client exits in time");
    assert!(status.success(), "{}: {status}\n{errors}", script.display());
}

/// Executes the commands of a script until the script closes its standard output, and confirms each with `done`.
async fn execute_commands(chain: &mut Chain, client: &mut Child) {
    let mut stdin = client.stdin.take().expect("stdin is piped");
    let mut commands = BufReader::new(client.stdout.take().expect("stdout is piped")).lines();
    while let Some(command) = commands.next_line().await.expect("stdout is UTF-8") {
        match command.as_str() {
            "stop" => {
                chain.sidecar.signal(Signal::SIGTERM);
                assert_eq!(chain.sidecar.wait().await, Some(0));
            }
            "start" => {
                chain.sidecar.restart();
                chain.sidecar.wait_until_ready().await;
            }
            other => panic!("unknown command: {other}"),
        }
        stdin
            .write_all(b"done\n")
            .await
            .expect("the client reads its input");
    }
}

fn clients_folder() -> PathBuf {
    workspace::root().join("tests/clients")
}
