//! The real Traefik with the example configuration of the docs, started and stopped for a test.
//! Follows Traefik's file provider and `deploy/traefik/`, with a test's own addresses.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, UnixStream};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use xtask::command::bound_to_parent;
use xtask::tools::{Tool, Tools};
use xtask::workspace;

use crate::http::{Client, DEADLINE, Version, get};

/// Time between two checks of a condition.
const POLL: Duration = Duration::from_millis(10);

/// A running Traefik; it is killed when dropped.
#[derive(Debug)]
pub struct Traefik {
    dir: TempDir,
    address: SocketAddr,
    process: Child,
    _relay: JoinSet<()>,
}

impl Traefik {
    /// Starts Traefik in front of the service at the Unix socket `service`, with the edge at `edge` for forward auth;
    /// `change` edits both files last.
    ///
    /// # Errors
    /// Traefik's log if it rejects its configuration.
    pub async fn start(
        edge: SocketAddr,
        service: &Path,
        change: impl Fn(&str) -> String,
    ) -> Result<Self, String> {
        let dir = TempDir::new().expect("the temporary folder is writable");
        let (service, relay) = relay(service.to_owned()).await;
        let address = free_address();
        let dynamic = dir.path().join("dynamic.yml");
        let literals = [
            (":8080", address.to_string()),
            ("/etc/traefik/dynamic.yml", dynamic.display().to_string()),
            ("http://127.0.0.1:11435", format!("http://{edge}")),
            ("http://127.0.0.1:3000", format!("http://{service}")),
        ];
        for name in ["traefik.yml", "dynamic.yml"] {
            let text = change(&render(name, &literals));
            fs::write(dir.path().join(name), text).expect("the temporary folder is writable");
        }
        let process = spawn(dir.path());
        let mut traefik = Self {
            dir,
            address,
            process,
            _relay: relay,
        };
        traefik.wait_until_routing().await.map(|()| traefik)
    }

    /// Opens a connection to Traefik.
    pub async fn connect(&self) -> Client {
        Client::connect(self.address, Version::H1).await
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Waits until the routes are loaded: before, Traefik responds with its own 404.
    async fn wait_until_routing(&mut self) -> Result<(), String> {
        let routing = async {
            loop {
                let exited = self.process.try_wait().expect("the child can be polled");
                if exited.is_some() || self.log().contains("ERR") {
                    return Err(self.log());
                }
                if tokio::net::TcpStream::connect(self.address).await.is_ok()
                    && let Ok(response) = self.connect().await.send(get("/")).await
                    && response.status != http::StatusCode::NOT_FOUND
                {
                    return Ok(());
                }
                sleep(POLL).await;
            }
        };
        timeout(DEADLINE, routing)
            .await
            .unwrap_or_else(|_| panic!("Traefik does not load its routes"))
    }
}

impl Drop for Traefik {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("Traefik's log:\n{}", self.log());
        }
    }
}

/// Relays TCP connections to a Unix socket: Traefik supports TCP services only, the tests' services use Unix sockets.
async fn relay(socket: PathBuf) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let address = listener.local_addr().expect("the listener is bound");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut client, _)) = listener.accept().await {
            let socket = socket.clone();
            connections.spawn(async move {
                if let Ok(mut service) = UnixStream::connect(socket).await {
                    let _ = copy_bidirectional(&mut client, &mut service).await; // ends when a side closes
                }
            });
        }
    });
    (address, tasks)
}

/// Returns a free loopback address; Traefik does not report the port that the kernel chooses for port 0.
fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("the listener is bound")
}

/// The shipped file with a test's addresses, without its comments.
fn render(name: &str, literals: &[(&str, String)]) -> String {
    let shipped = workspace::root().join("deploy/traefik").join(name);
    let text = fs::read_to_string(shipped).expect("the file is in the tree");
    // The comments name the same addresses.
    let uncommented = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .map(|line| format!("{line}\n"))
        .collect::<String>();
    literals.iter().fold(uncommented, |text, (literal, value)| {
        text.replace(literal, value)
    })
}

fn spawn(dir: &Path) -> Child {
    let traefik = Tools::open()
        .executable(Tool::Traefik)
        .expect("Traefik was fetched: `cargo xtask fetch`");
    let log = fs::File::create(dir.join("log")).expect("the temporary folder is writable");
    let mut command = Command::new(traefik);
    command
        .arg("--configFile")
        .arg(dir.join("traefik.yml"))
        .env_clear()
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("the file is open"))
        .stderr(log)
        .kill_on_drop(true);
    bound_to_parent(command.as_std_mut(), Signal::SIGKILL);
    command.spawn().expect("Traefik is executable")
}
