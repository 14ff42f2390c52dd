//! The demo, which does not require an account: the sidecar with the command and variables of the image `sidecar-demo`,
//! and the scripted model. Follows the Dockerfile and `deploy/demo/config.toml`, except for folders and the model's
//! port.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use parse_dockerfile::Instruction;
use tempfile::TempDir;
use tests::codex::models::CodexModels;
use tests::http::{BufferedResponse, Client, DEADLINE, get, post};
use tests::scripted_model::ScriptedModel;
use tests::sidecar::sidecar_binary;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};
use xtask::command::bound_to_parent;
use xtask::tools::{Tool, Tools};
use xtask::workspace;

use crate::dockerfile::Dockerfile;

/// Interval between two checks of a condition.
const POLL: Duration = Duration::from_millis(20);

#[tokio::test]
async fn demo_completes_a_chat_without_an_account() {
    let model = ScriptedModel::start_for(Tool::Codex).await.unwrap();
    let dir = TempDir::new().unwrap();
    place_home(dir.path(), &model.base_url());
    let _sidecar = start(dir.path());
    let ready = async {
        while !is_ready(dir.path()).await {
            sleep(POLL).await;
        }
    };
    let log = || fs::read_to_string(dir.path().join("log")).unwrap_or_default();
    timeout(DEADLINE, ready)
        .await
        .unwrap_or_else(|_| panic!("the sidecar does not become ready:\n{}", log()));
    let chat = r#"{"model":"codex-5","messages":[{"role":"user","content":"Say hello."}]}"#;
    let response = ask(dir.path(), post("/v1/chat/completions", chat))
        .await
        .unwrap();
    let text = response.json()["choices"][0]["message"]["content"].take();
    assert!(
        text.as_str().unwrap().contains("I am a scripted model"),
        "{text}"
    );
}

/// Writes the Codex home of the image, with the model at `base_url`.
fn place_home(dir: &Path, base_url: &str) {
    let model = Dockerfile::read().command("model");
    assert_eq!(
        model,
        [
            "scripted-model",
            "--listen",
            "0.0.0.0:8080",
            "--allow-remote"
        ]
    );
    let shipped = fs::read_to_string(workspace::root().join("deploy/demo/config.toml"))
        .expect("the demo's configuration is in the tree");
    let url = "http://model:8080/v1";
    assert_eq!(
        shipped.matches(url).count(),
        1,
        "Codex is configured with the address of the model"
    );
    fs::create_dir(dir.join("home")).expect("the folder is writable");
    let config = shipped.replace(url, base_url);
    fs::write(dir.join("home/config.toml"), config).expect("the folder is writable");
}

/// Starts the sidecar with the variables of the image `sidecar` and the arguments of `sidecar-demo`.
fn start(dir: &Path) -> Child {
    let dockerfile = Dockerfile::read();
    let folder = dir.display().to_string();
    let log = fs::File::create(dir.join("log")).expect("the folder is writable");
    let mut command = Command::new(sidecar_binary());
    command.args(dockerfile.command("sidecar-demo")).env_clear();
    dockerfile.in_stage("sidecar", |instruction| {
        let Instruction::Env(env) = instruction else {
            return;
        };
        for pair in env.arguments.value.split_whitespace() {
            let (name, value) = pair.split_once('=').expect("NAME=value");
            let value = value.replace("/var/lib/codex-edge", &format!("{folder}/home"));
            command.env(name, value.replace("/run/codex-edge", &folder));
        }
    });
    let codex = Tools::open()
        .executable(Tool::Codex)
        .expect("Codex was fetched: `cargo xtask fetch`");
    command
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("CODEX_BIN", codex)
        .env(
            "CODEX_MODEL",
            &CodexModels::of(Tool::Codex).default_model().id,
        )
        .env("TMPDIR", dir)
        .env("SIDECAR_LISTEN", format!("unix:{folder}/sidecar.sock"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true);
    bound_to_parent(command.as_std_mut(), Signal::SIGKILL);
    command.spawn().expect("the sidecar is executable")
}

async fn is_ready(dir: &Path) -> bool {
    let response = ask(dir, get("/readyz")).await;
    response.is_some_and(|response| response.status == 200)
}

async fn ask(dir: &Path, request: http::Request<tests::http::Body>) -> Option<BufferedResponse> {
    let client = Client::connect_unix(&dir.join("sidecar.sock")).await;
    client.ok()?.send(request).await.ok()
}
