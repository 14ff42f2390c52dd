//! The login of a chat's child, which the child reads through a link: Codex and the operator replace the file.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use tests::scripted_model::ScriptedModel;
use tests::sidecar::Sidecar;

use super::home::{EXPIRED, LOGIN, LoginHome, RENEWED, chatgpt};
use super::service::{LoginService, RENEWED_REFRESH};
use crate::stack::{ask, eventually};

/// The login files of the children's own homes.
fn links(sidecar: &Sidecar) -> Vec<PathBuf> {
    let names = |folder: &Path| -> Vec<_> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    names(sidecar.dir())
        .iter()
        .flat_map(|private| names(private))
        .map(|child| child.join("home").join(LOGIN))
        .filter(|login| login.is_symlink())
        .collect()
}

#[tokio::test]
async fn token_that_a_child_renews_is_written_to_the_operators_home() {
    let (model, service) = (
        ScriptedModel::start().await.unwrap(),
        LoginService::start().await,
    );
    let home = LoginHome::new(&model, &service);
    home.log_in(&chatgpt(EXPIRED, "first", "2020-01-01T00:00:00Z"));
    let mut sidecar = home.options(&model, &service).start().await;
    let response = ask(&sidecar, json!({"text": "Hi."}), json!({})).await;
    assert_eq!(response.status, 200, "{response:?}");
    let saved = || fs::read_to_string(home.login_file()).unwrap();
    let is_renewed = || saved().contains(RENEWED) && saved().contains(RENEWED_REFRESH);
    eventually("the login is renewed", is_renewed).await;
    // The child that wrote the login has a successor, which reads the new one.
    sidecar.wait_until_ready().await;
    let links = links(&sidecar);
    assert!(!links.is_empty());
    for link in links {
        assert_eq!(fs::read_link(link).unwrap(), home.login_file());
    }
}

#[tokio::test]
async fn login_that_is_replaced_by_a_rename_is_used() {
    let (model, service) = (
        ScriptedModel::start().await.unwrap(),
        LoginService::start().await,
    );
    let home = LoginHome::new(&model, &service);
    home.log_in(&json!({"OPENAI_API_KEY": "sk-first"}));
    let sidecar = home.options(&model, &service).start().await;
    for key in ["sk-first", "sk-second"] {
        home.log_in(&json!({"OPENAI_API_KEY": key}));
        let expected = format!("Bearer {key}");
        loop {
            let response = ask(&sidecar, json!({"text": "Hi."}), json!({})).await;
            assert_eq!(response.status, 200, "{response:?}");
            let requests = model.requests();
            if requests.last().unwrap().headers["authorization"] == expected {
                break;
            }
        }
    }
}
