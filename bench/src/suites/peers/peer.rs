//! The peers: packages, command lines and processes.
//!
//! Command lines and variables are those in the README of each package.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};
use xtask::command::bound_to_parent;

use crate::client::KEY;

/// Time from the start of a peer until it must accept connections; Python imports take seconds on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Package and command line of a peer.
#[derive(Debug)]
pub(in crate::suites) struct PeerSpec {
    pub(in crate::suites) package: &'static str,
    pub(in crate::suites) version: &'static str,
    /// Argument of `python -m`.
    module: &'static str,
    /// Arguments of the module; `PORT` is replaced with the port.
    arguments: &'static [&'static str],
    /// Environment variables; in values `PORT` is replaced with the port, and `KEY` with the API key.
    environment: &'static [(&'static str, &'static str)],
}

/// The packages on PyPI that run the Codex CLI. Packages that call the model's API themselves are not comparable.
pub(in crate::suites) const PEERS: [PeerSpec; 3] = [
    PeerSpec {
        package: "codex-gateway",
        version: "0.1.2",
        module: "codex_gateway.server",
        arguments: &["--port", "PORT"],
        environment: &[("CODEX_GATEWAY_TOKEN", "KEY")],
    },
    PeerSpec {
        package: "codex-cli-proxy",
        version: "0.0.1",
        module: "codex_proxy_cli.app",
        arguments: &[],
        environment: &[("PORT", "PORT"), ("CODEX_MAX_CONCURRENCY", "4")],
    },
    PeerSpec {
        package: "unified-cli",
        version: "0.5.4",
        module: "unified_cli.server",
        arguments: &["--port", "PORT"],
        environment: &[
            ("UNIFIED_CLI_SERVER_AUTH_TOKEN", "KEY"),
            // Without this variable the server rejects every model of Codex with 403.
            ("UNIFIED_CLI_SERVER_ALLOW_AGENTIC_PROVIDERS", "1"),
        ],
    },
];

/// A running peer. Its process group is killed when the value is dropped.
#[derive(Debug)]
pub(in crate::suites) struct Peer {
    process: Child,
    /// Stored, because tokio forgets the id of a child that has exited.
    pid: Pid,
    address: SocketAddr,
}

impl Peer {
    /// Starts the peer with `home` as its `CODEX_HOME` and the program `codex` in the folder `programs`, and waits until it
    /// accepts connections.
    ///
    /// # Errors
    /// When the process exits first, with the last line of its log.
    pub(in crate::suites) async fn start(
        spec: &PeerSpec,
        python: &Path,
        home: &Path,
        programs: &Path,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        // Released for the peer, which cannot choose a free port itself.
        drop(listener);
        let port = address.port().to_string();
        let fill = |text: &str| text.replace("PORT", &port).replace("KEY", KEY);
        let log = home.join("peer.log");
        let mut command = Command::new(python);
        command
            .args(["-m", spec.module])
            .args(spec.arguments.iter().map(|text| fill(text)))
            .env_clear()
            .env("PATH", path_with(programs)?)
            .env("HOME", home)
            .env("CODEX_HOME", home)
            .envs(
                spec.environment
                    .iter()
                    .map(|(name, value)| (*name, fill(value))),
            )
            .current_dir(home)
            // Its own group, so that the Codex processes that the peer starts are killed with it.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log)?);
        bound_to_parent(command.as_std_mut(), Signal::SIGKILL);
        let process = command.spawn().context("cannot start Python")?;
        let pid = process
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .context("the peer has no process id")?;
        let mut peer = Self {
            process,
            pid: Pid::from_raw(pid),
            address,
        };
        peer.wait_until_listening(&log).await?;
        Ok(peer)
    }

    pub(in crate::suites) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(in crate::suites) fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    async fn wait_until_listening(&mut self, log: &Path) -> anyhow::Result<()> {
        let started = Instant::now();
        while TcpStream::connect(self.address).await.is_err() {
            let exit = self.process.try_wait()?;
            if exit.is_some() || started.elapsed() > START_TIMEOUT {
                let log = std::fs::read_to_string(log).unwrap_or_default();
                bail!("{}", log.lines().next_back().unwrap_or("the log is empty"));
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Fails only when the group has exited.
        killpg(self.pid, Signal::SIGKILL).ok();
    }
}

/// Returns `PATH` with `programs` first; the peers start `codex` by name.
fn path_with(programs: &Path) -> anyhow::Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    Ok(std::env::join_paths(
        std::iter::once(programs.to_owned()).chain(std::env::split_paths(&path)),
    )?)
}
