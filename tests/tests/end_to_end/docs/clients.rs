//! `docs/clients.md`: each client is configured and run as its section describes, and sends its request to the path that
//! the section names. A section that is not run states the reason.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use futures_util::{StreamExt as _, stream};
use serde_json::json;
use tempfile::TempDir;
use tests::scripted_model::{Script, ScriptedModel};
use tests::sidecar;
use tokio::process::Command;
use xtask::tools::Tools;

use super::page::{Section, code_words, read, sections};
use crate::clients::sdks::{RUN, python};
use crate::stack::Chain;

/// The base URL and the key in the examples of the page.
const PAGE_EDGE: &str = "http://127.0.0.1:11435";
const PAGE_KEY: &str = "sk-…";
/// The introduction of the reason in a section that is not run.
const NOT_RUN: &str = "Not run by a test:";
/// Number of clients that run concurrently: each keeps a core busy for most of its run, and test machines have two.
const AT_ONCE: usize = 2;

const ANSWER: &str = "Hello there.";

#[tokio::test]
async fn every_client_works_as_its_section_describes() {
    let page = sections(&read("docs/clients.md"));
    let is_client = |section: &&Section| section.prose.starts_with("\nAsks `");
    let clients: Vec<_> = page.iter().filter(is_client).collect();
    let (skipped, run): (Vec<_>, Vec<_>) = clients
        .into_iter()
        .partition(|section| section.prose.contains(NOT_RUN));
    assert!(run.len() >= 9 && skipped.len() <= 4, "{skipped:?}");
    let chain = start(&run).await;
    let runs = run.into_iter().map(|section| check(&chain, section));
    stream::iter(runs)
        .buffer_unordered(AT_ONCE)
        .collect::<()>()
        .await;
}

/// A PNG image of one pixel.
const PIXEL: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4z8AAAAMBAQD3A0FDAAAAAElFTkSuQmCC";

#[tokio::test]
async fn llm_sends_images_with_the_settings_of_its_section() {
    let page = sections(&read("docs/clients.md"));
    let of_llm = page.iter().find(|section| section.title == "llm");
    let mut section = of_llm.expect("llm has a section").clone();
    let with_image = code_words(&section.prose).find(|code| code.contains(" -a photo.png"));
    let command = with_image
        .expect("the section has a command with an image")
        .to_owned();
    let last = section.blocks.last_mut().expect("a block of `sh`");
    let image = format!("base64 -d <<< {PIXEL} > photo.png\n");
    last.code = format!("{}\n{image}{command}\n", last.code);
    let chain = start(&[&section]).await;
    check(&chain, &section).await;
    let requests = chain.model.requests();
    let sent = requests.last().expect("a request").body["input"].to_string();
    assert!(
        sent.contains("input_image") && sent.contains(PIXEL),
        "{sent}"
    );
}

/// Starts the chain with a key for each client, a slow model, and keepalive comments in every pause.
async fn start(clients: &[&Section]) -> Chain {
    let model = ScriptedModel::start()
        .await
        .expect("a loopback port is free");
    let script = json!({"text": ANSWER, "delta_chars": 4, "delay_ms": 50});
    model.set_default(Some(Script::parse(script).expect("the script is valid")));
    let sidecar = sidecar::SidecarOptions::new(&model)
        .env("PROXY_SSE_KEEPALIVE_MS", "20")
        .env("PROXY_SSE_MAX_CONCURRENCY", "0")
        .start()
        .await;
    let keys = clients
        .iter()
        .map(|client| {
            let id = id(client);
            json!({"id": id, "key": key(&id)})
        })
        .collect();
    Chain::start_over(model, sidecar, |options| options.filter("keys", keys)).await
}

/// The client's name in the form of a key id.
fn id(section: &Section) -> String {
    section.title.replace([' ', ','], "-").to_lowercase()
}

fn key(id: &str) -> String {
    format!("sk-of-{id}")
}

/// Writes the files of a section into an empty home, and runs its commands there.
async fn check(chain: &Chain, section: &Section) {
    let title = &section.title;
    let home = TempDir::new().expect("the temporary folder is writable");
    let id = id(section);
    let edge = format!("http://{}", chain.envoy.address());
    let local = |text: &str| text.replace(PAGE_EDGE, &edge).replace(PAGE_KEY, &key(&id));
    let files = section.blocks.iter().filter(|block| block.language != "sh");
    for block in files {
        if let Some(name) = file_name(&block.lead) {
            write(&home.path().join(name), &local(&block.code));
        }
    }
    let script: Vec<_> = section
        .blocks_of("sh")
        .map(|block| local(&block.code))
        .collect();
    let output = run(home.path(), &script.join("\n")).await;
    assert!(output.contains(ANSWER), "{title}: {output}");
    let path = code_words(&section.prose)
        .next()
        .expect("the section names its path");
    let served = |entry: &serde_json::Value| entry["client"] == id && entry["status"] == 200;
    let entry = chain.envoy.access_log_entry(served).await;
    assert_eq!(entry["path"], path, "{title}");
}

/// The path below the home of the file in a lead such as "`~/.codex/config.toml`:".
fn file_name(lead: &str) -> Option<&str> {
    let name = lead.strip_prefix('`')?.strip_suffix("`:")?;
    Some(name.strip_prefix("~/").unwrap_or(name))
}

fn write(path: &Path, text: &str) {
    let folder = path.parent().expect("a file is in a folder");
    fs::create_dir_all(folder).expect("the test folder is writable");
    fs::write(path, text).expect("the test folder is writable");
}

/// Runs a script with the pinned clients in `PATH` and without access to other machines; returns its output.
async fn run(home: &Path, script: &str) -> String {
    let tools = Tools::open();
    let node = tools
        .node_clients()
        .expect("the clients were fetched: `cargo xtask fetch`")
        .join("node_modules");
    // Node resolves packages relative to the script.
    std::os::unix::fs::symlink(&node, home.join("node_modules"))
        .expect("the test folder is writable");
    let folders = [
        python()
            .parent()
            .expect("the interpreter is in a folder")
            .to_owned(),
        node.join(".bin"),
        node.join("opencode-linux-x64-baseline/bin"),
        node.join("opencode-linux-arm64/bin"),
        node.join("@anthropic-ai/claude-code-linux-x64"),
        node.join("@anthropic-ai/claude-code-linux-arm64"),
        tools.dir().join("bin"),
    ];
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(folders.into_iter().chain(std::env::split_paths(&inherited)))
        .expect("no folder name has a colon");
    let mut shell = Command::new("bash");
    shell.args(["-euc", script]).current_dir(home);
    shell.env_clear().env("PATH", path).env("HOME", home);
    // The proxy address is closed, so a client that connects to another machine fails at once.
    for name in ["HTTP_PROXY", "HTTPS_PROXY"] {
        shell.env(name, "http://127.0.0.1:9");
    }
    shell.env("NO_PROXY", "127.0.0.1").stdin(Stdio::null());
    let output = tokio::time::timeout(RUN, shell.kill_on_drop(true).output())
        .await
        .expect("the client exits in time")
        .expect("bash is installed");
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{script}\n{text}");
    text
}
