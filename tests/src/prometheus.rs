//! The real Prometheus with the configuration that ships, started and stopped for a test.
//! Follows its HTTP API (version 1) and `deploy/prometheus/`, with a test's own address and interval.

use std::fmt::Write as _;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};
use xtask::command::bound_to_parent;
use xtask::workspace;

use crate::http::{Client, DEADLINE, Version, get};

/// Time between two checks of a condition.
const POLL: Duration = Duration::from_millis(100);

/// A running Prometheus; it is killed when dropped.
#[derive(Debug)]
pub struct Prometheus {
    dir: TempDir,
    address: SocketAddr,
    process: Child,
}

impl Prometheus {
    /// Starts Prometheus, which scrapes `scraped` every second, and waits until it is ready.
    pub async fn start(scraped: SocketAddr) -> Self {
        let dir = TempDir::new().expect("the temporary folder is writable");
        place(dir.path(), scraped);
        let address = free_address();
        let process = spawn(dir.path(), address);
        let mut prometheus = Self {
            dir,
            address,
            process,
        };
        prometheus.wait_until_ready().await;
        prometheus
    }

    /// Evaluates an expression now: one element a series.
    ///
    /// # Errors
    /// Prometheus's error for an invalid expression.
    pub async fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let path = format!("/api/v1/query?query={}", percent_encode(expression));
        let mut response = self.get(&path).await.ok_or("no response")?;
        match response["status"].as_str() {
            Some("success") => match response["data"]["result"].take() {
                Value::Array(series) => Ok(series),
                other => Err(format!("{other} is not a list of series")),
            },
            _ => Err(response.to_string()),
        }
    }

    /// Waits until an expression has a numeric result; `false` after the deadline.
    ///
    /// # Errors
    /// As [`Prometheus::query`].
    pub async fn has(&self, expression: &str) -> Result<bool, String> {
        let found = async {
            while !self.query(expression).await?.iter().any(is_number) {
                sleep(POLL).await;
            }
            Ok(())
        };
        match timeout(DEADLINE, found).await {
            Ok(found) => found.map(|()| true),
            Err(_elapsed) => Ok(false),
        }
    }

    /// The names of all stored series.
    pub async fn names(&self) -> Vec<String> {
        let mut response = self
            .get("/api/v1/label/__name__/values")
            .await
            .expect("Prometheus responds");
        serde_json::from_value(response["data"].take()).expect("a list of names")
    }

    async fn get(&self, path: &str) -> Option<Value> {
        let mut client = Client::connect(self.address, Version::H1).await;
        let response = client.send(get(path)).await.ok()?;
        serde_json::from_slice(&response.body).ok()
    }

    /// Waits for `/-/ready`: Prometheus listens well before it accepts queries.
    async fn wait_until_ready(&mut self) {
        let ready = async {
            while !self.is_ready().await {
                let ended = self.process.try_wait().expect("the child can be polled");
                assert_eq!(
                    ended,
                    None,
                    "Prometheus exits at its start:\n{}",
                    self.log()
                );
                sleep(POLL).await;
            }
        };
        let ready = timeout(DEADLINE, ready).await;
        ready.unwrap_or_else(|_| panic!("Prometheus does not get ready:\n{}", self.log()));
    }

    async fn is_ready(&self) -> bool {
        if TcpStream::connect(self.address).await.is_err() {
            return false;
        }
        let mut client = Client::connect(self.address, Version::H1).await;
        let response = client.send(get("/-/ready")).await;
        response.is_ok_and(|response| response.status == 200)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("Prometheus's log:\n{}", self.log());
        }
    }
}

/// Whether the value of a series is a number; 0 / 0 is NaN.
fn is_number(series: &Value) -> bool {
    series["value"][1]
        .as_str()
        .is_some_and(|value| value != "NaN")
}

/// The folder with the configuration that ships.
pub fn shipped_config_dir() -> PathBuf {
    workspace::root().join("deploy/prometheus")
}

fn place(dir: &Path, scraped: SocketAddr) {
    let mut text = fs::read_to_string(shipped_config_dir().join("prometheus.yml"))
        .expect("the file is in the tree");
    for (literal, value) in [
        ("admin:9464", scraped.to_string()),
        ("interval: 15s", "interval: 1s".into()),
    ] {
        assert_eq!(text.matches(literal).count(), 2, "`{literal}` occurs twice");
        text = text.replace(literal, &value);
    }
    fs::write(dir.join("prometheus.yml"), text).expect("the temporary folder is writable");
    fs::copy(
        shipped_config_dir().join("alerts.yml"),
        dir.join("alerts.yml"),
    )
    .expect("the temporary folder is writable");
}

/// Returns a free loopback address; Prometheus does not report the port that the kernel chooses for port 0.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
    listener.local_addr().expect("the listener is bound")
}

fn spawn(dir: &Path, address: SocketAddr) -> Child {
    let log = fs::File::create(dir.join("log")).expect("the temporary folder is writable");
    let mut command = Command::new("prometheus");
    command
        .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
        .arg(format!("--web.listen-address={address}"))
        .current_dir(dir)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::null())
        .stderr(log)
        .kill_on_drop(true);
    bound_to_parent(command.as_std_mut(), Signal::SIGKILL);
    let process = command.spawn();
    process
        .expect("Prometheus is installed: `apt-get install prometheus`, as `cargo xtask test` does")
}

/// Percent-encodes a value for a query (RFC 3986, section 2.1).
fn percent_encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("writes to memory do not fail");
        }
        encoded
    })
}
