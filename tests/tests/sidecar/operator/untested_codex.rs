//! A Codex that is newer than the tested ones. It is the real one behind a script that prints another version, and that
//! renames a call on its way to Codex where the self-test must fail.

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::http::get;
use tests::scripted_model::ScriptedModel;
use tests::sidecar::{SidecarOptions, codex_binary, codex_tool};
use xtask::command::write_program;
use xtask::tools::Tool;

use crate::stack::{ask, start_with};

const VERSION: &str = "0.999.0";

/// Writes a Codex of the version [`VERSION`], of which the app-server reads each line through `sed` with `edit`.
fn newer_codex(dir: &TempDir, edit: &str) -> String {
    let codex = codex_binary(codex_tool());
    let script = format!(
        "#!/bin/sh\n\
         case \" $* \" in\n\
         *' --version '*) echo codex-cli {VERSION} ;;\n\
         *' app-server '*) sed -u '{edit}' | '{codex}' \"$@\" ;;\n\
         *) exec '{codex}' \"$@\" ;;\n\
         esac"
    );
    let file = dir.path().join("codex");
    write_program(&file, &script).expect("the temporary folder is writable");
    file.to_string_lossy().into_owned()
}

#[tokio::test]
async fn newer_codex_starts_with_a_warning_after_its_self_test() {
    let dir = TempDir::new().expect("the temporary folder is writable");
    let codex = newer_codex(&dir, "");
    let (model, sidecar) = start_with(|options| options.env("CODEX_BIN", &codex)).await;
    assert!(
        model.requests().is_empty(),
        "the self-test asks the model nothing"
    );
    let log = sidecar.log();
    let warning = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find(|line| line["message"] == "untested codex version accepted after a self-test")
        .unwrap_or_else(|| panic!("no warning: {log}"));
    assert_eq!(warning["level"], "WARN");
    assert_eq!(warning["codex"], VERSION);
    let health = sidecar.connect().await.send(get("/healthz")).await.unwrap();
    assert_eq!(health.json()["codex"]["version"], VERSION);
    let answer = ask(&sidecar, json!({"text": "Hi."}), json!({})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn newer_codex_that_rejects_a_call_of_the_self_test_does_not_start() {
    let model = ScriptedModel::start()
        .await
        .expect("a loopback port is free");
    let action = format!("install codex-cli {}", Tool::Codex.version().unwrap());
    for (edit, call) in [
        ("s/\"initialize\"/\"gone\"/", "`initialize` was rejected"),
        ("s,\"model/list\",\"gone\",", "`model/list` was rejected"),
        (
            "s,\"thread/start\",\"gone\",",
            "`thread/start` was rejected",
        ),
        (
            "s,\"thread/inject_items\",\"gone\",",
            "`thread/inject_items` was rejected",
        ),
        (
            "s,\"inputSchema\",\"gone\",",
            "`thread/start` with a tool was rejected",
        ),
        ("q", "Codex ended before it responded to `"),
    ] {
        let dir = TempDir::new().expect("the temporary folder is writable");
        let options = SidecarOptions::new(&model).env("CODEX_BIN", &newer_codex(&dir, edit));
        let mut sidecar = options.spawn();
        assert_eq!(sidecar.wait().await, Some(64), "{}", sidecar.log());
        let log = sidecar.log();
        let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
        let error = last["error"].as_str().unwrap();
        for part in [call, VERSION, &action] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}
