//! A stand-in for OpenAI's login services: renewal of a ChatGPT login, and the check of an access token.
//! Paths and fields are those that Codex 0.169 and 0.171 were seen to use.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::home::{RENEWED, tokens};

/// The refresh token of a renewed login.
pub(super) const RENEWED_REFRESH: &str = "renewed-refresh-token";

/// A running service; stopped when dropped.
pub(super) struct LoginService {
    url: String,
    /// Checks of an access token that will still fail.
    failures: Arc<AtomicUsize>,
    _task: JoinSet<()>,
}

impl LoginService {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .expect("a loopback port is free");
        let address = listener.local_addr().expect("the listener is bound");
        let failures = Arc::new(AtomicUsize::new(0));
        let mut task = JoinSet::new();
        task.spawn(serve(listener, Arc::clone(&failures)));
        Self {
            url: format!("http://{address}"),
            failures,
            _task: task,
        }
    }

    /// The URL without a path.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Makes the next `count` checks of an access token fail.
    pub(super) fn fail(&self, count: usize) {
        self.failures.store(count, Ordering::Relaxed);
    }
}

async fn serve(listener: TcpListener, failures: Arc<AtomicUsize>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(answer(stream, Arc::clone(&failures)));
    }
}

/// Answers one request.
async fn answer(mut stream: TcpStream, failures: Arc<AtomicUsize>) {
    let mut head = vec![0; 16 * 1024];
    // A request of Codex is smaller than the buffer, and arrives whole on loopback.
    let read = stream.read(&mut head).await.unwrap_or_default();
    let head = String::from_utf8_lossy(head.get(..read).unwrap_or_default()).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default();
    let (status, body) = respond(path, &failures);
    let text = body.to_string();
    let response = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{text}",
        text.len()
    );
    // Fails when Codex has exited.
    let _ = stream.write_all(response.as_bytes()).await;
}

fn respond(path: &str, failures: &AtomicUsize) -> (&'static str, Value) {
    let fails = || {
        let left = failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(1)
        });
        left.is_ok()
    };
    match path {
        "/oauth/token" => ("200 OK", tokens(RENEWED, RENEWED_REFRESH)),
        "/v1/user-auth-credential/whoami" if fails() => ("500 Internal Server Error", json!({})),
        "/v1/user-auth-credential/whoami" => (
            "200 OK",
            json!({
                "email": "service@example.com", "chatgpt_user_id": "user", "chatgpt_account_id": "account",
                "chatgpt_plan_type": "business", "chatgpt_account_is_fedramp": false,
            }),
        ),
        // Such as the configuration of a workspace, without which Codex does not start.
        _ => ("200 OK", json!({})),
    }
}
