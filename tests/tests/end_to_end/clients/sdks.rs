//! The official SDKs and schemathesis against the chain, as their users run them.
//! The scripts are in `tests/clients`; each asserts what its user would rely on, and says nothing when all is well.

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

use crate::stack::{KEY, Stack};

/// Longest run of a client; the longest takes a quarter of it on two cores that have nothing else to do.
pub(crate) const RUN: Duration = Duration::from_secs(120);

#[tokio::test]
async fn openai_python_chats() {
    run_python("chat.py").await;
}

#[tokio::test]
async fn openai_python_names_its_errors_and_tries_again() {
    run_python("errors.py").await;
}

#[tokio::test]
async fn openai_python_runs_a_loop_of_tools_even_over_a_restart() {
    run_python("tool_loop.py").await;
}

#[tokio::test]
async fn answers_are_as_they_are_described() {
    run_python("openapi.py").await;
}

#[tokio::test]
async fn whatever_schemathesis_makes_up_is_answered_as_described() {
    run_python("fuzz.py").await;
}

#[tokio::test]
async fn openai_node_chats_runs_tools_and_leaves() {
    let clients = Tools::open()
        .node_clients()
        .expect("the clients were fetched: `cargo xtask fetch`");
    // Node looks for packages beside a script, so the script is run from beside them.
    let script =
        std::fs::read(clients_folder().join("node/chat.mjs")).expect("the script is in the tree");
    let copy = tempfile::Builder::new()
        .suffix(".mjs")
        .tempfile_in(&clients)
        .expect("the folder is ours");
    std::fs::write(copy.path(), script).expect("the folder is ours");
    let mut stack = start().await;
    run(&mut stack, Path::new("node"), copy.path()).await;
}

/// Runs a script of the Python clients, which succeeds when all is as it should be.
pub(crate) async fn run_python(script: &str) {
    let script = clients_folder().join("python").join(script);
    run(&mut start().await, &python(), &script).await;
}

/// The Python that has the clients.
pub(crate) fn python() -> PathBuf {
    let python = Tools::open().python();
    python.expect("the clients were fetched: `cargo xtask fetch`")
}

/// The chain with the keys of the scripts, and a model that is quick and obedient where a prompt has no script.
pub(crate) async fn start() -> Stack {
    let keys = json!([
        {"id": "low", "key": "sk-low", "models": ["*-low"]},
        {"id": "slow", "key": "sk-slow", "rate_limit": {"requests": 1, "window_ms": 2000}},
    ]);
    let stack = Stack::start_with(|options| options.filter("keys", keys)).await;
    let script = Script::parse(json!({"auto": "Hello there.", "delta_chars": 4}));
    stack.model.set_default(Some(script.expect("a script")));
    stack
}

/// Runs a script, which orders on its standard output and fails with what it writes to its standard error.
async fn run(stack: &mut Stack, interpreter: &Path, script: &Path) {
    let control = format!("http://{}/__control", stack.model.address());
    let mut client = Command::new(interpreter);
    client.arg(script).args([&stack.base_url(), KEY, &control]);
    client.stdin(Stdio::piped()).stdout(Stdio::piped());
    // Python would keep its compiled modules beside the scripts, in the tree.
    client
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stderr(Stdio::piped());
    let mut client = client
        .kill_on_drop(true)
        .spawn()
        .expect("the interpreter is there");
    let mut stderr = client.stderr.take().expect("it is piped");
    let mut said = String::new();
    let ended = tokio::time::timeout(RUN, async {
        let (_, read) = tokio::join!(obey(stack, &mut client), stderr.read_to_string(&mut said));
        read.expect("it writes UTF-8");
        client.wait().await.expect("it is our child")
    });
    let status = ended.await.expect("the client ends");
    assert!(status.success(), "{}: {status}\n{said}", script.display());
}

/// Does what a script orders, until it orders nothing more.
async fn obey(stack: &mut Stack, client: &mut Child) {
    let mut stdin = client.stdin.take().expect("it is piped");
    let mut orders = BufReader::new(client.stdout.take().expect("it is piped")).lines();
    while let Some(order) = orders.next_line().await.expect("it writes UTF-8") {
        match order.as_str() {
            "stop" => {
                stack.sidecar.signal(Signal::SIGTERM);
                assert_eq!(stack.sidecar.wait().await, Some(0));
            }
            "start" => {
                stack.sidecar.restart();
                stack.sidecar.wait_until_ready().await;
            }
            other => panic!("an order that nobody knows: {other}"),
        }
        stdin.write_all(b"done\n").await.expect("it reads");
    }
}

fn clients_folder() -> PathBuf {
    workspace::root().join("tests/clients")
}
