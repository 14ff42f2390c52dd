//! `docs/deployment.md`: TLS in Envoy and forwarding by nginx, with the configuration blocks of the page.
//! openssl makes the certificate.

use std::path::Path;
use std::process::Command;

use serde_json::json;
use tests::http::{bearer, post};
use tests::nginx::Nginx;
use tests::sse::Events;
use xtask::command;

use super::page::{read, sections};
use crate::clients::curl::shell;
use crate::stack::{Chain, KEY, streamed_chat};

/// The part of `envoy/envoy.yaml` in which the page replaces `- filters:`. Each listener has such a line, so the
/// following lines identify the public listener.
const PUBLIC: &str = "    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: public";

/// The first block of the page in this language.
fn block(language: &str) -> String {
    let page = sections(&read("docs/deployment.md"));
    let mut blocks = page.iter().flat_map(|section| section.blocks_of(language));
    blocks
        .next()
        .expect("the page has such a block")
        .code
        .clone()
}

#[tokio::test]
async fn envoy_serves_tls_with_the_block_of_the_page() {
    let dir = tempfile::tempdir().expect("the temporary folder is writable");
    make_certificate(dir.path());
    let folder = dir.path().to_string_lossy();
    let socket = block("yaml").replace("/etc/codex-edge", &folder);
    let public = PUBLIC.replace("    - filters:", &socket);
    let chain = Chain::start_with(|options| options.replace(PUBLIC, &public)).await;
    let port = chain.envoy.address().port();
    let ask = |scheme: &str| {
        format!(
            "curl -sS --cacert {folder}/tls.crt --resolve edge.example:{port}:127.0.0.1 -o {folder}/out \
             -w '%{{http_code}} HTTP/%{{http_version}}' {scheme}://edge.example:{port}/v1/models"
        )
    };
    let over_tls = shell(&chain.base_url(), &ask("https")).await;
    assert!(over_tls.starts_with("200 HTTP/2"), "{over_tls}");
    let plaintext = shell(&chain.base_url(), &ask("http")).await;
    assert!(
        plaintext.starts_with("000"),
        "plaintext HTTP gets no response: {plaintext}"
    );
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
async fn nginx_forwards_streams_and_large_bodies() {
    let chain = Chain::start().await;
    let edge = chain.envoy.address();
    let location = block("nginx").replace("127.0.0.1:11435", &edge.to_string());
    let unused = Path::new("/nonexistent");
    let nginx = Nginx::start(edge, unused, |shipped| {
        let listen = shipped
            .lines()
            .find(|line| line.contains("listen unix:"))
            .expect("the shipped configuration listens on a Unix socket");
        format!("server {{\n{listen}\n{location}\n}}\n")
    })
    .await;

    let script = json!([{"text": "spo", "open": true}, {"hold": "nginx"}, {"text": "ken"}]);
    let mut client = nginx.connect().await;
    let response = client.stream(streamed_chat(&script)).await;
    let mut events = Events::new(response.expect("a response arrives"));
    let first = events.next_json().await;
    assert_eq!(first["choices"][0]["delta"]["role"], "assistant");
    chain.model.release("nginx");
    let rest = events
        .rest()
        .await
        .expect("the stream ends without a transport error");
    assert_eq!(rest.last().expect("the stream has events"), "data: [DONE]");

    let long = json!({"role": "user", "content": "x".repeat(3 << 20)});
    let body = json!({"model": "codex-5", "messages": [long]}).to_string();
    let request = bearer(post("/v1/chat/completions", body), KEY);
    let response = nginx.connect().await.send(request).await;
    assert_eq!(response.expect("a response arrives").status, 200);
}
