//! Which protocol is spoken, and what the operator is told when none can be.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;
use tests::http::get;
use tests::scripted_model::ScriptedModel;
use tests::sidecar::{Sidecar, SidecarOptions};
use xtask::command::write_program;
use xtask::tools::{Tool, Tools};

use super::codex;
use crate::stack::start as start_current;

/// Starts a sidecar that cannot, and returns what it says of it.
async fn refusal(change: impl FnOnce(SidecarOptions) -> SidecarOptions) -> String {
    let model = ScriptedModel::start().await;
    let model = model.expect("a loopback port is free");
    let mut sidecar = change(SidecarOptions::new(&model)).spawn();
    assert_eq!(sidecar.wait().await, Some(64), "{}", sidecar.log());
    last_error(&sidecar)
}

fn last_error(sidecar: &Sidecar) -> String {
    let log = sidecar.log();
    let last = log.lines().last().unwrap_or_default();
    let last: Value = serde_json::from_str(last).expect("the log is JSON lines");
    last["error"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_current_codex_speaks_app_server() {
    let (_model, sidecar) = start_current().await;
    let health = sidecar.connect().await.send(get("/healthz")).await.unwrap();
    assert_eq!(health.json()["codex"]["protocol"], "app-server");
    assert!(sidecar.log().contains(r#""protocol":"app-server""#));
}

#[tokio::test]
async fn a_codex_that_does_not_speak_what_is_wanted_is_named_with_what_is_needed() {
    let current = Tools::open().executable(Tool::Codex).unwrap();
    let current = current.to_string_lossy().into_owned();
    for (binary, protocol, parts) in [
        (codex(), "app-server", ["0.42.0", "0.169 or newer"]),
        (current, "proto", ["0.169.0", "0.42 or older"]),
        (
            "/bin/true".to_owned(),
            "auto",
            ["/bin/true", "0.42 or older"],
        ),
    ] {
        let options = |options: SidecarOptions| {
            options
                .env("CODEX_BIN", &binary)
                .env("CODEX_PROTOCOL", protocol)
        };
        let error = refusal(options).await;
        for part in parts {
            assert!(error.contains(part), "{protocol} {binary}: {error}");
        }
    }
}

#[tokio::test]
async fn a_version_that_speaks_neither_and_a_program_that_is_none_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let script = |name: &str, mode: u32, says: &str| {
        let file = dir.path().join(name);
        write_program(&file, &format!("#!/bin/sh\necho {says}")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        file.to_string_lossy().into_owned()
    };
    for (binary, part) in [
        (script("between", 0o755, "codex-cli 0.44.0"), "0.44.0"),
        (
            script("locked", 0o644, "codex-cli 0.42.0"),
            "Permission denied",
        ),
        (script("launcher", 0o755, "codex-cli 0.42.0"), "is a script"),
    ] {
        let error = refusal(|options| options.env("CODEX_BIN", &binary)).await;
        assert!(error.contains(part) && error.contains(&binary), "{error}");
    }
}

#[tokio::test]
async fn a_login_that_cannot_be_read_is_named() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("auth.json")).unwrap();
    let path = home.path().to_string_lossy().into_owned();
    let error = refusal(|options| options.env("CODEX_HOME", &path)).await;
    assert!(error.contains("auth.json"), "{error}");
    assert!(error.contains("CODEX_HOME"), "{error}");
}

#[tokio::test]
async fn without_a_login_it_is_not_ready_and_looks_again() {
    let model = ScriptedModel::start().await.unwrap();
    let options = SidecarOptions::new(&model).env("CODEX_BIN", &codex());
    let mut sidecar = options.env("CODEX_FORCE_PROVIDER", "").spawn();
    let answer = sidecar
        .wait_for_readiness(|answer| answer.json()["error"]["code"] == "codex_login_required")
        .await;
    assert_eq!(answer.status, 503);
    assert!(
        sidecar.children().is_empty(),
        "a child without a login never gets one"
    );
    let login = r#"{"OPENAI_API_KEY":"sk-test"}"#;
    fs::write(sidecar.dir().join("codex-home/auth.json"), login).unwrap();
    sidecar.wait_until_ready().await;
}
