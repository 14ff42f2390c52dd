//! The official SDKs against the chain: each script asserts what its user would rely on.

use std::path::Path;
use std::process::Stdio;

use tests::http::DEADLINE;
use tokio::process::Command;
use xtask::tools::Tools;
use xtask::workspace;

use crate::stack::{KEY, Stack};

#[tokio::test]
async fn openai_python_streams_gathers_and_names_its_errors() {
    let python = Tools::open()
        .python()
        .expect("the clients were fetched: `cargo xtask fetch`");
    run(&python, "python/chat.py").await;
}

#[tokio::test]
async fn openai_node_streams_gathers_and_names_its_errors() {
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
    run(Path::new("node"), copy.path()).await;
}

/// Runs a client's script, which says nothing and succeeds when all is as it should be.
pub(crate) async fn run(interpreter: &Path, script: impl AsRef<Path>) {
    let stack = Stack::start().await;
    let mut client = Command::new(interpreter);
    client
        .arg(clients_folder().join(script))
        .arg(stack.base_url())
        .arg(KEY);
    client.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(DEADLINE * 3, client.output()).await;
    let output = output
        .expect("the client ends")
        .expect("the interpreter is there");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}", output.status);
}

fn clients_folder() -> std::path::PathBuf {
    workspace::root().join("tests/clients")
}
