//! `docs/deployment.md`: what it has Envoy and nginx do for the wire, they do.
//! The blocks are taken from the page; the certificate is made by openssl.

use std::path::Path;
use std::process::Command;

use serde_json::json;
use tests::http::{bearer, post};
use tests::nginx::Nginx;
use tests::sse::Events;
use xtask::command;

use super::page::{read, sections};
use crate::clients::curl::shell;
use crate::stack::{KEY, Stack, streamed_chat};

/// What the page has in the place of the line `- filters:`; that line is there once a listener.
const PUBLIC: &str = "    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: public";

/// The page's block of this language.
fn block(language: &str) -> String {
    let page = sections(&read("docs/deployment.md"));
    let mut blocks = page.iter().flat_map(|section| section.blocks_of(language));
    blocks.next().expect("the page has it").code.clone()
}

#[tokio::test]
async fn envoy_speaks_tls() {
    let dir = tempfile::tempdir().expect("the temporary folder can be written");
    make_certificate(dir.path());
    let folder = dir.path().to_string_lossy();
    let socket = block("yaml").replace("/etc/codex-edge", &folder);
    let public = PUBLIC.replace("    - filters:", &socket);
    let stack = Stack::start_with(|options| options.replace(PUBLIC, &public)).await;
    let port = stack.envoy.address().port();
    let ask = |scheme: &str| {
        format!(
            "curl -sS --cacert {folder}/tls.crt --resolve edge.example:{port}:127.0.0.1 -o {folder}/out \
             -w '%{{http_code}} HTTP/%{{http_version}}' {scheme}://edge.example:{port}/v1/models"
        )
    };
    let said = shell(&stack.base_url(), &ask("https")).await;
    assert!(said.starts_with("200 HTTP/2"), "{said}");
    let said = shell(&stack.base_url(), &ask("http")).await;
    assert!(said.starts_with("000"), "nothing is plain any more: {said}");
}

fn make_certificate(folder: &Path) {
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-nodes", "-newkey", "ec", "-days", "1"]);
    openssl.args(["-pkeyopt", "ec_paramgen_curve:prime256v1"]);
    openssl.args(["-subj", "/CN=edge.example"]);
    openssl.args(["-addext", "subjectAltName=DNS:edge.example"]);
    openssl.args(["-keyout", "tls.key", "-out", "tls.crt"]);
    command::output(openssl.current_dir(folder)).expect("openssl makes a certificate");
}

#[tokio::test]
async fn nginx_passes_streams_and_images() {
    let stack = Stack::start().await;
    let edge = stack.envoy.address();
    let location = block("nginx").replace("127.0.0.1:11435", &edge.to_string());
    let unused = Path::new("/nonexistent");
    let nginx = Nginx::start(edge, unused, |shipped| {
        let listen = shipped.lines().find(|line| line.contains("listen unix:"));
        let listen = listen.expect("it listens");
        format!("server {{\n{listen}\n{location}\n}}\n")
    })
    .await;

    let script = json!([{"hold": "nginx"}, {"text": "spoken"}]);
    let mut client = nginx.connect().await;
    let answer = client.stream(streamed_chat(&script)).await;
    let mut events = Events::new(answer.expect("an answer"));
    let first = events.next_json().await;
    assert_eq!(first["choices"][0]["delta"]["role"], "assistant");
    stack.model.release("nginx");
    let rest = events.rest().await.expect("the stream ends well");
    assert_eq!(rest.last().expect("an event"), "data: [DONE]");

    let long = json!({"role": "user", "content": "x".repeat(3 << 20)});
    let body = json!({"model": "codex-5", "messages": [long]}).to_string();
    let request = bearer(post("/v1/chat/completions", body), KEY);
    let answer = nginx.connect().await.send(request).await;
    assert_eq!(answer.expect("an answer").status, 200);
}
