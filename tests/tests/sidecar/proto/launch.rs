//! The choice of the protocol at start, and the errors of a Codex that cannot be used.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;
use tests::http::get;
use tests::scripted_model::ScriptedModel;
use tests::sidecar::{Sidecar, SidecarOptions};
use xtask::command::write_program;
use xtask::tools::{Tool, Tools};

use super::fixture::codex_binary;
use crate::stack::start as start_current;

/// Starts a sidecar that exits with 64, and returns the error of its last log line.
async fn start_error(change: impl FnOnce(SidecarOptions) -> SidecarOptions) -> String {
    let model = ScriptedModel::start()
        .await
        .expect("a loopback port is free");
    let mut sidecar = change(SidecarOptions::new(&model)).spawn();
    assert_eq!(sidecar.wait().await, Some(64), "{}", sidecar.log());
    last_error(&sidecar)
}

fn last_error(sidecar: &Sidecar) -> String {
    let log = sidecar.log();
    let last_line = log.lines().last().unwrap_or_default();
    let last: Value = serde_json::from_str(last_line).expect("log lines are JSON");
    last["error"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn current_codex_uses_app_server() {
    let (_model, sidecar) = start_current().await;
    let health = sidecar.connect().await.send(get("/healthz")).await.unwrap();
    assert_eq!(health.json()["codex"]["protocol"], "app-server");
    assert!(sidecar.log().contains(r#""protocol":"app-server""#));
}

#[tokio::test]
async fn codex_without_the_requested_protocol_is_named_with_the_required_version() {
    let current = Tools::open()
        .executable(Tool::Codex)
        .unwrap()
        .to_string_lossy()
        .into_owned();
    for (binary, protocol, parts) in [
        (codex_binary(), "app-server", ["0.42.0", "0.169 or newer"]),
        (current, "proto", ["0.171.0", "0.42 or older"]),
        (
            "/bin/true".to_owned(),
            "auto",
            ["/bin/true", "0.42 or older"],
        ),
    ] {
        let error = start_error(|options| {
            options
                .env("CODEX_BIN", &binary)
                .env("CODEX_PROTOCOL", protocol)
        })
        .await;
        for part in parts {
            assert!(error.contains(part), "{protocol} {binary}: {error}");
        }
    }
}

#[tokio::test]
async fn unsupported_versions_and_unusable_programs_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let script = |name: &str, mode: u32, version: &str| {
        let file = dir.path().join(name);
        write_program(&file, &format!("#!/bin/sh\necho {version}")).unwrap();
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
        let error = start_error(|options| options.env("CODEX_BIN", &binary)).await;
        assert!(error.contains(part) && error.contains(&binary), "{error}");
    }
}

#[tokio::test]
async fn unreadable_login_is_named_at_start() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("auth.json")).unwrap();
    let path = home.path().to_string_lossy().into_owned();
    let error = start_error(|options| options.env("CODEX_HOME", &path)).await;
    assert!(error.contains("auth.json"), "{error}");
    assert!(error.contains("CODEX_HOME"), "{error}");
}

#[tokio::test]
async fn readiness_without_login_is_503_until_the_login_appears() {
    let model = ScriptedModel::start_for(Tool::CodexProto).await.unwrap();
    let options = SidecarOptions::with_codex(Tool::CodexProto, &model);
    let mut sidecar = options.env("CODEX_FORCE_PROVIDER", "").spawn();
    let response = sidecar
        .wait_for_readiness(|response| response.json()["error"]["code"] == "codex_login_required")
        .await;
    assert_eq!(response.status, 503);
    assert!(
        sidecar.children().is_empty(),
        "a child that starts without a login would never use a later one"
    );
    let login = r#"{"OPENAI_API_KEY":"sk-test"}"#;
    fs::write(sidecar.dir().join("codex-home/auth.json"), login).unwrap();
    sidecar.wait_until_ready().await;
}
