//! Envoy's admin interface on its Unix socket: readiness, listeners, statistics.
//! Follows Envoy's documentation, "Administration interface".

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use tokio::time::{sleep, timeout};

use crate::http::{BufferedResponse, Client, DEADLINE, empty, get};

/// Time between two checks of a condition.
const POLL: Duration = Duration::from_millis(10);

/// The admin interface of an Envoy; one connection a request.
#[derive(Debug)]
pub(super) struct Admin {
    socket: PathBuf,
}

impl Admin {
    /// The admin interface at a socket that need not exist yet.
    pub(super) fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// `GET path`.
    pub(super) async fn get(&self, path: &str) -> BufferedResponse {
        self.try_get(path)
            .await
            .expect("the admin interface responds")
    }

    /// `POST path`.
    pub(super) async fn post(&self, path: &str) -> BufferedResponse {
        self.connect()
            .await
            .expect("the admin interface listens")
            .send(empty(Method::POST, path))
            .await
            .expect("the admin interface responds")
    }

    /// The value of the counter or gauge `name`.
    pub(super) async fn stat(&self, name: &str) -> u64 {
        let body = self.get("/stats").await.body;
        String::from_utf8_lossy(&body)
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
            .unwrap_or_else(|| panic!("no stat {name}"))
            .parse()
            .expect("the stat is a number")
    }

    /// Waits until the counter or gauge `name` is at least `value`.
    pub(super) async fn wait_for_stat(&self, name: &str, value: u64) {
        let reached = async {
            while self.stat(name).await < value {
                sleep(POLL).await;
            }
        };
        let reached = timeout(DEADLINE, reached).await;
        assert!(reached.is_ok(), "{name} does not reach {value}");
    }

    /// The address of the public listener once Envoy is live.
    pub(super) async fn public_listener(&self) -> Option<SocketAddr> {
        let ready = self.try_get("/ready").await?;
        // The listener exists before its filters are warmed.
        if ready.body != Bytes::from_static(b"LIVE\n") {
            return None;
        }
        self.listener("public").await
    }

    /// The address of the listener `name`; all listeners of tests are on loopback.
    pub(super) async fn listener(&self, name: &str) -> Option<SocketAddr> {
        let listeners = self.try_get("/listeners?format=json").await?.json();
        let statuses = listeners["listener_statuses"].as_array()?;
        let status = statuses.iter().find(|status| status["name"] == name)?;
        let address = &status["local_address"]["socket_address"];
        let port = u16::try_from(address["port_value"].as_u64()?).ok()?;
        Some(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    async fn try_get(&self, path: &str) -> Option<BufferedResponse> {
        self.connect().await.ok()?.send(get(path)).await.ok()
    }

    async fn connect(&self) -> io::Result<Client> {
        Client::connect_unix(&self.socket).await
    }
}
