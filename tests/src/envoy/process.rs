//! The real Envoy with the configuration that ships, started and stopped for a test.
//! Follows Envoy's admin interface and `envoy/envoy.yaml`; what differs from that file is said in [`Options`].

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Map, Value};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use xtask::command::bound_to_us;
use xtask::envoy_config::Placement;
use xtask::tools::{Tool, Tools};

use super::log::{Log, read_lines};
use super::options::{BOOTSTRAP, Options, place, with_fields};
use crate::http::{Answer, Client, DEADLINE, Version, empty, get};
use crate::processes;

/// Time between SIGTERM and SIGKILL; Envoy closes its connections at once and needs far less.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// Time between two looks at a condition.
const POLL: Duration = Duration::from_millis(10);

/// The kernel counts memory in these on the machines that Envoy is built for.
const PAGE_OCTETS: usize = 4096;

/// A running Envoy; its process group is killed when it is dropped.
#[derive(Debug)]
pub struct Envoy {
    dir: TempDir,
    placement: Placement,
    address: SocketAddr,
    process: Child,
    log: Arc<Log>,
    _readers: JoinSet<()>,
}

impl Envoy {
    /// Starts Envoy and waits until its listener accepts connections.
    pub async fn start(options: Options) -> Self {
        let dir = TempDir::new().expect("the temporary folder can be written");
        let placement = place(dir.path(), &options);
        let mut process = spawn(dir.path(), &options);
        let log = Arc::new(Log::default());
        let mut readers = JoinSet::new();
        let stdout = process.stdout.take().expect("stdout is piped");
        let stderr = process.stderr.take().expect("stderr is piped");
        readers.spawn(read_lines(stdout, log.clone(), Log::add_access));
        readers.spawn(read_lines(stderr, log.clone(), Log::add_stderr));
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut envoy = Self {
            dir,
            placement,
            address,
            process,
            log,
            _readers: readers,
        };
        envoy.address = envoy.wait_until_listening(options.patience).await;
        envoy
    }

    /// Where the public listener listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where Prometheus finds what is counted.
    pub async fn metrics_address(&self) -> SocketAddr {
        let address = self.listener("metrics").await;
        address.expect("Envoy has a listener for Prometheus")
    }

    /// A new connection to the public listener.
    pub async fn connect(&self, version: Version) -> Client {
        Client::connect(self.address, version).await
    }

    /// `GET path` from the admin interface.
    pub async fn admin(&self, path: &str) -> Answer {
        self.try_admin(path)
            .await
            .expect("the admin interface listens")
    }

    /// `POST path` to the admin interface.
    pub async fn admin_post(&self, path: &str) -> Answer {
        let mut client = self
            .admin_client()
            .await
            .expect("the admin interface listens");
        client
            .send(empty(http::Method::POST, path))
            .await
            .expect("the admin interface answers")
    }

    /// The value of the counter or gauge `name`.
    pub async fn stat(&self, name: &str) -> u64 {
        let text = self.admin("/stats").await.body;
        let text = String::from_utf8_lossy(&text);
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let value = value.unwrap_or_else(|| panic!("no stat {name}"));
        value.parse().expect("the stat is a number")
    }

    /// Waits until the counter or gauge `name` is at least `value`.
    pub async fn wait_for_stat(&self, name: &str, value: u64) {
        let reached = async {
            while self.stat(name).await < value {
                sleep(POLL).await;
            }
        };
        let reached = timeout(DEADLINE, reached).await;
        assert!(reached.is_ok(), "{name} does not reach {value}");
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        let id = self.process.id().and_then(|id| i32::try_from(id).ok());
        id.expect("Envoy was not reaped yet")
    }

    /// Descriptors that it has open.
    pub fn descriptors(&self) -> usize {
        processes::descriptors(self.pid())
    }

    /// Octets of memory that Envoy has in use, as the kernel sees it.
    pub fn resident_octets(&self) -> usize {
        let pid = self.process.id().expect("Envoy was not reaped yet");
        let statm = fs::read_to_string(format!("/proc/{pid}/statm")).expect("Envoy runs");
        let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
        pages
            .map(|pages: usize| pages * PAGE_OCTETS)
            .expect("proc(5)")
    }

    /// The access log's entries so far.
    pub fn access_log(&self) -> Vec<Value> {
        self.log.access()
    }

    /// The first entry of the access log that `wanted` accepts, waited for.
    pub async fn access_log_entry(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let found = async {
            loop {
                if let Some(entry) = self.access_log().into_iter().find(&wanted) {
                    return entry;
                }
                sleep(POLL).await;
            }
        };
        let found = timeout(DEADLINE, found).await;
        found.unwrap_or_else(|_| panic!("no such entry among {:#?}", self.access_log()))
    }

    /// What Envoy wrote to stderr so far.
    pub fn stderr(&self) -> String {
        self.log.stderr()
    }

    /// The folder with the rendered configuration and the sockets.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Puts `text` in the place of the watched `filter.yaml`, in one step.
    pub fn write_filter_yaml(&self, text: &str) {
        let fresh = self.dir.path().join("filter.yaml.new");
        fs::write(&fresh, text).expect("the folder is ours");
        fs::rename(fresh, &self.placement.filter_yaml).expect("the folder is ours");
    }

    /// The watched `filter.yaml` with other fields in the filter's plugin configuration.
    pub fn filter_yaml(&self, fields: &Map<String, Value>) -> String {
        let text = fs::read_to_string(&self.placement.filter_yaml).expect("the folder is ours");
        with_fields(&text, fields)
    }

    /// Stops Envoy as a supervisor would: SIGTERM to the group, a grace period, SIGKILL, reap.
    pub async fn stop(mut self) {
        self.signal(Signal::SIGTERM);
        if timeout(STOP_GRACE, self.process.wait()).await.is_err() {
            self.signal(Signal::SIGKILL);
            self.process
                .wait()
                .await
                .expect("a killed child can be reaped");
        }
    }

    async fn wait_until_listening(&mut self, patience: Duration) -> SocketAddr {
        let listening = async {
            loop {
                if let Some(status) = self.process.try_wait().expect("the child is ours") {
                    return Err(status);
                }
                if let Some(address) = self.public_listener().await {
                    return Ok(address);
                }
                sleep(POLL).await;
            }
        };
        match timeout(patience, listening).await {
            Ok(Ok(address)) => address,
            Ok(Err(status)) => panic!("Envoy ended with {status}:\n{}", self.stderr()),
            Err(_) => panic!("Envoy does not get ready:\n{}", self.stderr()),
        }
    }

    async fn public_listener(&self) -> Option<SocketAddr> {
        let ready = self.try_admin("/ready").await?;
        if ready.body != Bytes::from_static(b"LIVE\n") {
            return None;
        }
        self.listener("public").await
    }

    /// The address of the listener `name`, all of which are on loopback here.
    async fn listener(&self, name: &str) -> Option<SocketAddr> {
        let listeners = self.try_admin("/listeners?format=json").await?.json();
        let statuses = listeners["listener_statuses"].as_array()?;
        let status = statuses.iter().find(|status| status["name"] == name)?;
        let address = &status["local_address"]["socket_address"];
        let port = u16::try_from(address["port_value"].as_u64()?).ok()?;
        Some(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    async fn try_admin(&self, path: &str) -> Option<Answer> {
        self.admin_client().await.ok()?.send(get(path)).await.ok()
    }

    async fn admin_client(&self) -> std::io::Result<Client> {
        Client::connect_unix(&self.placement.admin_socket).await
    }

    fn signal(&self, signal: Signal) {
        if let Some(id) = self.process.id() {
            let group = Pid::from_raw(i32::try_from(id).expect("a pid fits"));
            // Fails only when the group is gone already.
            let _ = killpg(group, signal);
        }
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
        if std::thread::panicking() {
            eprintln!("Envoy's log:\n{}", self.stderr());
        }
    }
}

fn spawn(dir: &Path, options: &Options) -> Child {
    let envoy = Tools::open()
        .executable(Tool::Envoy)
        .expect("Envoy was fetched");
    let under = options.under.iter().map(PathBuf::from);
    let mut words = under.chain([envoy]);
    let mut command = Command::new(words.next().expect("Envoy is one"));
    command
        .args(words)
        .arg("--config-path")
        .arg(dir.join(BOOTSTRAP))
        .args(["--concurrency", &options.concurrency.to_string()])
        // A misspelt field in filter.yaml is refused, not skipped; `up` and the compose file say so too.
        .arg("--reject-unknown-dynamic-fields")
        // Several Envoys run side by side, none hands over to another, and the access log is read at once.
        .args([
            "--disable-hot-restart",
            "--file-flush-interval-msec",
            "10",
            "--log-level",
            "warning",
        ])
        .env_clear()
        .envs(options.env.iter().cloned())
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(yaml) = &options.config_yaml {
        command.args(["--config-yaml", yaml]);
    }
    bound_to_us(command.as_std_mut(), Signal::SIGKILL);
    command.spawn().expect("Envoy is executable")
}
