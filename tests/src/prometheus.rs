//! The real Prometheus with the configuration that ships, started and stopped for a test.
//! Follows its HTTP API (version 1) and `deploy/prometheus/`, whose address and interval are replaced by a test's own.

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

/// Time between two looks at a condition.
const POLL: Duration = Duration::from_millis(100);

/// A running Prometheus; it is killed when dropped.
#[derive(Debug)]
pub struct Prometheus {
    dir: TempDir,
    address: SocketAddr,
    process: Child,
}

impl Prometheus {
    /// Starts it on what listens at `scraped`, which it reads every second, and waits until it answers.
    pub async fn start(scraped: SocketAddr) -> Self {
        let dir = TempDir::new().expect("the temporary folder can be written");
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

    /// What an expression comes to now: one element a series.
    ///
    /// # Errors
    /// What Prometheus has against it.
    pub async fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let path = format!("/api/v1/query?query={}", encoded(expression));
        let mut answer = self.ask(&path).await.ok_or("no answer")?;
        match answer["status"].as_str() {
            Some("success") => match answer["data"]["result"].take() {
                Value::Array(series) => Ok(series),
                other => Err(format!("{other} is no list of series")),
            },
            _ => Err(answer.to_string()),
        }
    }

    /// Waits until an expression comes to a number; `false` when it never does.
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

    /// The names of all series that it has.
    pub async fn names(&self) -> Vec<String> {
        let answer = self.ask("/api/v1/label/__name__/values").await;
        let mut answer = answer.expect("Prometheus answers");
        serde_json::from_value(answer["data"].take()).expect("a list of names")
    }

    async fn ask(&self, path: &str) -> Option<Value> {
        let mut client = Client::connect(self.address, Version::H1).await;
        let answer = client.send(get(path)).await.ok()?;
        serde_json::from_slice(&answer.body).ok()
    }

    /// It listens well before it can answer.
    async fn wait_until_ready(&mut self) {
        let ready = async {
            while !self.is_ready().await {
                let ended = self.process.try_wait().expect("the child is ours");
                assert_eq!(ended, None, "Prometheus ends at once:\n{}", self.log());
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
        let answer = client.send(get("/-/ready")).await;
        answer.is_ok_and(|answer| answer.status == 200)
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

/// Whether a series comes to a number: a part of nothing is none.
fn is_number(series: &Value) -> bool {
    series["value"][1]
        .as_str()
        .is_some_and(|value| value != "NaN")
}

/// The folder with the configuration that ships.
pub fn shipped() -> PathBuf {
    workspace::root().join("deploy/prometheus")
}

fn place(dir: &Path, scraped: SocketAddr) {
    let mut text =
        fs::read_to_string(shipped().join("prometheus.yml")).expect("the file is in the tree");
    for (literal, value) in [
        ("127.0.0.1:9464", scraped.to_string()),
        ("interval: 15s", "interval: 1s".into()),
    ] {
        assert_eq!(
            text.matches(literal).count(),
            2,
            "`{literal}` is in it twice"
        );
        text = text.replace(literal, &value);
    }
    fs::write(dir.join("prometheus.yml"), text).expect("the folder is ours");
    fs::copy(shipped().join("alerts.yml"), dir.join("alerts.yml")).expect("the folder is ours");
}

/// Prometheus does not say which port the kernel chose, so one is looked for beforehand.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
    listener.local_addr().expect("it is bound")
}

fn spawn(dir: &Path, address: SocketAddr) -> Child {
    let log = fs::File::create(dir.join("log")).expect("the folder is ours");
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
    process.expect("Prometheus is there: `apt-get install prometheus`, as .ci/run does")
}

/// A value for a query (RFC 3986, section 2.1).
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a string takes everything");
        }
        encoded
    })
}
