//! A running Envoy: its listeners, its logs, its configuration files, and its end.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Map, Value};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use xtask::command::bound_to_parent;
use xtask::envoy_config::Placement;
use xtask::tools::Tools;

use super::admin::Admin;
use super::log::{Log, read_lines};
use super::options::{BOOTSTRAP, EnvoyOptions, place, with_fields};
use crate::http::{BufferedResponse, Client, DEADLINE, Version};
use crate::processes;

/// Time between SIGTERM and SIGKILL; Envoy closes its connections at once and needs far less.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Time between two checks of a condition.
const POLL: Duration = Duration::from_millis(10);

/// Bytes of a memory page on the architectures that Envoy is built for.
const PAGE_OCTETS: usize = 4096;

/// A running Envoy; its process group is killed when it is dropped.
#[derive(Debug)]
pub struct Envoy {
    dir: TempDir,
    placement: Placement,
    address: SocketAddr,
    admin: Admin,
    process: Child,
    log: Arc<Log>,
    _readers: JoinSet<()>,
}

impl Envoy {
    /// Starts Envoy and waits until its listener accepts connections.
    pub async fn start(options: EnvoyOptions) -> Self {
        let dir = TempDir::new().expect("the temporary folder is writable");
        let placement = place(dir.path(), &options);
        let mut process = spawn(dir.path(), &options);
        let log = Arc::new(Log::default());
        let mut readers = JoinSet::new();
        let stdout = process.stdout.take().expect("stdout is piped");
        let stderr = process.stderr.take().expect("stderr is piped");
        readers.spawn(read_lines(stdout, log.clone(), Log::add_access));
        readers.spawn(read_lines(stderr, log.clone(), Log::add_stderr));
        let mut envoy = Self {
            dir,
            admin: Admin::new(placement.admin_socket.clone()),
            placement,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            process,
            log,
            _readers: readers,
        };
        envoy.address = envoy.wait_until_listening(options.start_timeout).await;
        envoy
    }

    /// The address of the public listener.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of the listener for Prometheus.
    pub async fn metrics_address(&self) -> SocketAddr {
        let address = self.admin.listener("metrics").await;
        address.expect("Envoy has a listener for Prometheus")
    }

    /// Opens a connection to the public listener.
    pub async fn connect(&self, version: Version) -> Client {
        Client::connect(self.address, version).await
    }

    /// `GET path` from the admin interface.
    pub async fn admin(&self, path: &str) -> BufferedResponse {
        self.admin.get(path).await
    }

    /// `POST path` to the admin interface.
    pub async fn admin_post(&self, path: &str) -> BufferedResponse {
        self.admin.post(path).await
    }

    /// The value of the counter or gauge `name`.
    pub async fn stat(&self, name: &str) -> u64 {
        self.admin.stat(name).await
    }

    /// Waits until the counter or gauge `name` is at least `value`.
    pub async fn wait_for_stat(&self, name: &str, value: u64) {
        self.admin.wait_for_stat(name, value).await;
    }

    /// Envoy's pid.
    pub fn pid(&self) -> i32 {
        let id = self.process.id().and_then(|id| i32::try_from(id).ok());
        id.expect("Envoy was not reaped yet")
    }

    /// The number of open descriptors.
    pub fn descriptors(&self) -> usize {
        processes::descriptors(self.pid())
    }

    /// Resident memory in octets, as the kernel counts it (proc(5), `statm`).
    pub fn resident_octets(&self) -> usize {
        fs::read_to_string(format!("/proc/{}/statm", self.pid()))
            .expect("Envoy runs")
            .split(' ')
            .nth(1)
            .and_then(|pages| pages.parse().ok())
            .map(|pages: usize| pages * PAGE_OCTETS)
            .expect("the second number of statm is the resident size")
    }

    /// The access log's entries so far.
    pub fn access_log(&self) -> Vec<Value> {
        self.log.access()
    }

    /// Waits for an access log entry that `wanted` accepts, and returns the first one.
    pub async fn access_log_entry(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let found = async {
            loop {
                if let Some(entry) = self.access_log().into_iter().find(&wanted) {
                    return entry;
                }
                sleep(POLL).await;
            }
        };
        timeout(DEADLINE, found)
            .await
            .unwrap_or_else(|_| panic!("no such entry among {:#?}", self.access_log()))
    }

    /// Envoy's stderr so far.
    pub fn stderr(&self) -> String {
        self.log.stderr()
    }

    /// The folder with the rendered configuration and the sockets.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The watched `filter.yaml`.
    pub fn filter_yaml_path(&self) -> &Path {
        &self.placement.filter_yaml
    }

    /// Replaces the watched `filter.yaml` by `text`.
    pub fn write_filter_yaml(&self, text: &str) {
        // A rename, so that Envoy never reads half a file.
        let fresh = self.dir.path().join("filter.yaml.new");
        fs::write(&fresh, text).expect("the temporary folder is writable");
        fs::rename(fresh, &self.placement.filter_yaml).expect("the temporary folder is writable");
    }

    /// The watched `filter.yaml` with additional or replaced fields in the filter's plugin configuration.
    pub fn filter_yaml(&self, fields: &Map<String, Value>) -> String {
        let text = fs::read_to_string(&self.placement.filter_yaml)
            .expect("the rendered configuration is readable");
        with_fields(&text, fields)
    }

    /// Stops Envoy as a supervisor does: SIGTERM to the group, a grace period, SIGKILL, reap.
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

    async fn wait_until_listening(&mut self, start_timeout: Duration) -> SocketAddr {
        let listening = async {
            loop {
                if let Some(status) = self.process.try_wait().expect("the child can be polled") {
                    return Err(status);
                }
                if let Some(address) = self.admin.public_listener().await {
                    return Ok(address);
                }
                sleep(POLL).await;
            }
        };
        match timeout(start_timeout, listening).await {
            Ok(Ok(address)) => address,
            Ok(Err(status)) => panic!("Envoy exited with {status}:\n{}", self.stderr()),
            Err(_) => panic!("Envoy does not get ready:\n{}", self.stderr()),
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(id) = self.process.id() {
            let group = Pid::from_raw(i32::try_from(id).expect("a pid fits an i32"));
            let _ = killpg(group, signal); // fails only when the group is gone already
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

fn spawn(dir: &Path, options: &EnvoyOptions) -> Child {
    let envoy = Tools::open()
        .executable(options.tool)
        .expect("Envoy was fetched: `cargo xtask fetch`");
    let wrapper = options.wrapper.iter().map(PathBuf::from);
    let mut words = wrapper.chain([envoy]);
    let mut command = Command::new(words.next().expect("the chain ends with Envoy"));
    command
        .args(words)
        .arg("--config-path")
        .arg(dir.join(BOOTSTRAP))
        .args(["--concurrency", &options.concurrency.to_string()])
        // As `cargo xtask up` and the compose file: a misspelt field in filter.yaml is rejected, not ignored.
        .arg("--reject-unknown-dynamic-fields")
        // Hot restart would make Envoys that run side by side share memory; tests read the access log at once.
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
    bound_to_parent(command.as_std_mut(), Signal::SIGKILL);
    command.spawn().expect("Envoy is executable")
}
