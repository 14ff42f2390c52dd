//! The kinds of login: each is named, and a ChatGPT login of several clients causes a warning.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tests::http::{get, with};
use tests::scripted_model::ScriptedModel;
use tests::sidecar::{Sidecar, SidecarOptions, codex_binary, codex_tool};

use super::home::{LoginHome, RENEWED, chatgpt};
use super::service::LoginService;
use crate::stack::{SOON, ask, chat};

/// Waits until `/healthz` names the login `kind`, and checks that the status document and the log name it too.
async fn expect_kind(sidecar: &Sidecar, kind: &str) {
    let named = async {
        loop {
            let health = sidecar
                .connect()
                .await
                .send(get("/healthz"))
                .await
                .expect("a response arrives");
            if health.json()["codex"]["login"] == kind && logged(sidecar, kind) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let found = tokio::time::timeout(SOON, named).await;
    assert!(found.is_ok(), "{kind}: {}", sidecar.log());
    let mut admin = sidecar.connect_admin().await;
    let status = admin
        .send(get("/status"))
        .await
        .expect("a response arrives")
        .json();
    assert_eq!(status["codex"]["login"], kind);
}

fn logged(sidecar: &Sidecar, kind: &str) -> bool {
    sidecar.log().contains(&format!(r#""login":"{kind}""#))
}

fn today() -> Value {
    // After every run of these tests, so that Codex sees no reason to renew the login.
    chatgpt(RENEWED, "refresh", "2099-01-01T00:00:00Z")
}

#[tokio::test]
async fn each_kind_of_login_is_named() {
    let (model, service) = (
        ScriptedModel::start().await.unwrap(),
        LoginService::start().await,
    );
    let sidecar = SidecarOptions::new(&model).start().await;
    expect_kind(&sidecar, "none_needed").await;
    let home = LoginHome::new(&model, &service);
    let sidecar = home.options(&model, &service).spawn();
    let mut sidecar = sidecar;
    sidecar
        .wait_for_readiness(|response| response.status == 503)
        .await;
    expect_kind(&sidecar, "missing").await;
    // The same sidecar notices each new login.
    let mut login = Command::new(codex_binary(codex_tool()))
        .args(["login", "--with-api-key"])
        .env("CODEX_HOME", home.path())
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = login.stdin.take().unwrap();
    stdin.write_all(b"sk-of-a-team").unwrap();
    drop(stdin);
    assert!(login.wait().unwrap().success());
    expect_kind(&sidecar, "api_key").await;
    home.log_in(&today());
    expect_kind(&sidecar, "chatgpt").await;
    assert!(!sidecar.log().contains("sk-of-a-team"));
}

#[tokio::test]
async fn access_token_of_the_environment_wins_and_is_named() {
    const TOKEN: &str = "at-of-a-workspace";
    let (model, service) = (
        ScriptedModel::start().await.unwrap(),
        LoginService::start().await,
    );
    let home = LoginHome::new(&model, &service);
    home.log_in(&json!({"OPENAI_API_KEY": "sk-in-the-file"}));
    let options = home
        .options(&model, &service)
        .env("CODEX_ACCESS_TOKEN", TOKEN);
    let sidecar = options.start().await;
    expect_kind(&sidecar, "access_token").await;
    let environment =
        json!([[{"call": "exec_command", "arguments": {"cmd": "env"}}], [{"text": "done"}]]);
    let agent = with(
        chat(&environment, &json!({})),
        "x-codex-edge-profile",
        "agent",
    );
    let plain = chat(&json!({"text": "Hi."}), &json!({}));
    for request in [plain, agent] {
        let response = sidecar.connect().await.send(request).await.unwrap();
        assert_eq!(response.status, 200, "{response:?}");
        let request = model.requests().pop().unwrap();
        assert_eq!(request.headers["authorization"], format!("Bearer {TOKEN}"));
        assert!(
            !request.body.to_string().contains(TOKEN),
            "{}",
            request.body["input"]
        );
    }
    assert!(!sidecar.log().contains(TOKEN));
}

#[tokio::test]
async fn access_token_that_cannot_be_checked_is_tried_again() {
    let (model, service) = (
        ScriptedModel::start().await.unwrap(),
        LoginService::start().await,
    );
    let home = LoginHome::new(&model, &service);
    service.fail(usize::MAX);
    let options = home
        .options(&model, &service)
        .env("CODEX_ACCESS_TOKEN", "at-of-a-workspace");
    let mut sidecar = options.spawn();
    let required = sidecar
        .wait_for_readiness(|response| response.json()["error"]["code"] == "codex_login_required");
    required.await;
    expect_kind(&sidecar, "unknown").await;
    service.fail(0);
    sidecar.wait_until_ready().await;
    let response = ask(&sidecar, json!({"text": "Hi."}), json!({})).await;
    assert_eq!(response.status, 200, "{response:?}");
}

#[tokio::test]
async fn chatgpt_login_of_several_clients_is_warned_about_once() {
    let (model, service) = (
        ScriptedModel::start().await.unwrap(),
        LoginService::start().await,
    );
    let home = LoginHome::new(&model, &service);
    home.log_in(&today());
    let sidecar = home.options(&model, &service).start().await;
    expect_kind(&sidecar, "chatgpt").await;
    let warnings = || sidecar.log().matches("chatgpt login shared").count();
    for (client, expected) in [("ann", 0), ("ann", 0), ("bob", 1), ("eve", 1)] {
        let request = with(
            chat(&json!({"text": "Hi."}), &json!({})),
            "x-codex-edge-client",
            client,
        );
        let response = sidecar.connect().await.send(request).await.unwrap();
        assert_eq!(response.status, 200, "{response:?}");
        assert_eq!(warnings(), expected, "{client}");
    }
    let log = sidecar.log();
    let warning = log
        .lines()
        .find(|line| line.contains("chatgpt login shared"));
    assert!(
        warning.unwrap().contains("codex login --with-api-key"),
        "{warning:?}"
    );
}
