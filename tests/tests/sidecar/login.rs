//! The login of a chat's child, which the child reads through a link: Codex and the operator replace the file.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tests::scripted_model::ScriptedModel;
use tests::sidecar::{Sidecar, SidecarOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::stack::{ask, eventually};

/// An unsigned token (RFC 7519, section 6) of a ChatGPT Plus plan that expired in 2020.
const EXPIRED: &str = "eyJhbGciOiJub25lIn0.eyJlbWFpbCI6ImFAZXhhbXBsZS5jb20iLCJleHAiOjE2MDAwMDAwMDAsImh0dHBzOi8vYXBpLm9wZW5haS5jb20vYXV0aCI6eyJjaGF0Z3B0X3BsYW5fdHlwZSI6InBsdXMiLCJjaGF0Z3B0X2FjY291bnRfaWQiOiJhY2NvdW50In19.c2ln";

/// The same token until 2100.
const RENEWED: &str = "eyJhbGciOiJub25lIn0.eyJlbWFpbCI6ImFAZXhhbXBsZS5jb20iLCJleHAiOjQxMDI0NDQ4MDAsImh0dHBzOi8vYXBpLm9wZW5haS5jb20vYXV0aCI6eyJjaGF0Z3B0X3BsYW5fdHlwZSI6InBsdXMiLCJjaGF0Z3B0X2FjY291bnRfaWQiOiJhY2NvdW50In19.c2ln";

/// The name of the login file in CODEX_HOME.
const LOGIN: &str = "auth.json";

const WRITABLE: &str = "the test folder is writable";

/// A home whose provider `model` uses the login.
fn write_home(home: &Path, model: &ScriptedModel, login: &Value) {
    let provider = format!(
        "[model_providers.scripted]\nname = \"scripted\"\nbase_url = \"{}\"\nwire_api = \"responses\"\n\
         requires_openai_auth = true\n",
        model.base_url()
    );
    fs::write(home.join("config.toml"), provider).expect(WRITABLE);
    replace_login(home, login);
}

/// Replaces the login as Codex does: a new file that is renamed.
fn replace_login(home: &Path, login: &Value) {
    fs::write(home.join("new.json"), login.to_string()).expect(WRITABLE);
    fs::rename(home.join("new.json"), home.join(LOGIN)).expect(WRITABLE);
}

fn options(model: &ScriptedModel, home: &Path) -> SidecarOptions {
    SidecarOptions::new(model).env("CODEX_HOME", &home.to_string_lossy())
}

/// Answers each HTTP request with `body`, as a stand-in for OpenAI's token service; returns its URL.
async fn serve_json(body: Value, tasks: &mut JoinSet<()>) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await
        .expect("a loopback port is free");
    let url = format!(
        "http://{}/oauth/token",
        listener.local_addr().expect("the listener is bound")
    );
    tasks.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // A request of Codex is smaller than the buffer, and arrives whole on loopback.
            let _ = stream.read(&mut [0; 16 * 1024]).await;
            let text = body.to_string();
            let response = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\
                 content-length: {}\r\n\r\n{text}",
                text.len()
            );
            let _ = stream.write_all(response.as_bytes()).await;
        }
    });
    url
}

/// The login files of the children's own homes.
fn links(sidecar: &Sidecar) -> Vec<std::path::PathBuf> {
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
    let model = ScriptedModel::start().await.unwrap();
    let home = tempfile::tempdir().unwrap();
    let tokens = |token: &str, refresh: &str| json!({"id_token": token, "access_token": token, "refresh_token": refresh, "account_id": "account"});
    let login = json!({
        "auth_mode": "chatgpt", "OPENAI_API_KEY": null, "tokens": tokens(EXPIRED, "first"),
        "last_refresh": "2020-01-01T00:00:00Z",
    });
    write_home(home.path(), &model, &login);
    let mut tasks = JoinSet::new();
    let service = serve_json(tokens(RENEWED, "second"), &mut tasks).await;
    let mut sidecar = options(&model, home.path())
        .env("CODEX_REFRESH_TOKEN_URL_OVERRIDE", &service)
        .env("CODEX_ENV_PASSTHROUGH", "CODEX_REFRESH_TOKEN_URL_OVERRIDE")
        .start()
        .await;
    let response = ask(&sidecar, json!({"text": "Hi."}), json!({})).await;
    assert_eq!(response.status, 200, "{response:?}");
    let saved = || fs::read_to_string(home.path().join(LOGIN)).unwrap();
    eventually("the token is renewed", || saved().contains("second")).await;
    assert!(saved().contains(RENEWED), "{}", saved());
    // The child that wrote the login has a successor, which reads the new one.
    sidecar.wait_until_ready().await;
    let links = links(&sidecar);
    assert!(!links.is_empty());
    for link in links {
        assert_eq!(fs::read_link(link).unwrap(), home.path().join(LOGIN));
    }
}

#[tokio::test]
async fn login_that_is_replaced_by_a_rename_is_used() {
    let model = ScriptedModel::start().await.unwrap();
    let home = tempfile::tempdir().unwrap();
    write_home(home.path(), &model, &json!({"OPENAI_API_KEY": "sk-first"}));
    let sidecar = options(&model, home.path()).start().await;
    for key in ["sk-first", "sk-second"] {
        replace_login(home.path(), &json!({"OPENAI_API_KEY": key}));
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
