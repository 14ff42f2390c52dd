//! One peer: how it is started, and its end.
//! Each package's own README; variables are those that it names there.

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
use xtask::command::bound_to_us;
use xtask::tools::{Tool, Tools};

use crate::client::KEY;

/// Time that a peer has to listen.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a package is started.
#[derive(Debug)]
pub(super) struct Spec {
    pub(super) package: &'static str,
    pub(super) version: &'static str,
    /// What Python runs.
    module: &'static str,
    /// Arguments; `PORT` becomes the port.
    arguments: &'static [&'static str],
    /// Variables; `PORT` becomes the port, `KEY` the key.
    environment: &'static [(&'static str, &'static str)],
}

/// Those of PyPI that run the Codex CLI; what talks to the model's API without it is something else.
pub(super) const PEERS: [Spec; 3] = [
    Spec {
        package: "codex-gateway",
        version: "0.1.2",
        module: "codex_gateway.server",
        arguments: &["--port", "PORT"],
        environment: &[("CODEX_GATEWAY_TOKEN", "KEY")],
    },
    Spec {
        package: "codex-cli-proxy",
        version: "0.0.1",
        module: "codex_proxy_cli.app",
        arguments: &[],
        environment: &[("PORT", "PORT"), ("CODEX_MAX_CONCURRENCY", "4")],
    },
    Spec {
        package: "unified-cli",
        version: "0.5.4",
        module: "unified_cli.server",
        arguments: &["--port", "PORT"],
        environment: &[
            ("UNIFIED_CLI_SERVER_AUTH_TOKEN", "KEY"),
            // Without it every model of Codex is refused with 403.
            ("UNIFIED_CLI_SERVER_ALLOW_AGENTIC_PROVIDERS", "1"),
        ],
    },
];

/// A running peer; its process group is killed when it is dropped.
#[derive(Debug)]
pub(super) struct Peer {
    process: Child,
    address: SocketAddr,
}

impl Peer {
    /// Starts it with `home` as Codex's home, and waits until it listens.
    ///
    /// # Errors
    /// With the last line that it wrote, when it ends instead.
    pub(super) async fn start(spec: &Spec, python: &Path, home: &Path) -> anyhow::Result<Self> {
        let free = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = free.local_addr()?;
        drop(free);
        let port = address.port().to_string();
        let fill = |text: &str| text.replace("PORT", &port).replace("KEY", KEY);
        let log = home.join("peer.log");
        let mut command = Command::new(python);
        command
            .args(["-m", spec.module])
            .args(spec.arguments.iter().map(|text| fill(text)));
        command
            .env_clear()
            .env("PATH", path_with_codex()?)
            .env("HOME", home)
            .env("CODEX_HOME", home)
            .envs(spec.environment.iter().map(|(name, value)| {
                let value = if *value == *name {
                    port.clone()
                } else {
                    fill(value)
                };
                (*name, value)
            }))
            .current_dir(home)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log)?);
        bound_to_us(command.as_std_mut(), Signal::SIGKILL);
        let process = command.spawn().context("Python cannot be started")?;
        let mut peer = Self { process, address };
        peer.wait_until_listening(&log).await?;
        Ok(peer)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn pid(&self) -> i32 {
        let id = self.process.id().and_then(|id| i32::try_from(id).ok());
        id.expect("the peer was not reaped yet")
    }

    async fn wait_until_listening(&mut self, log: &Path) -> anyhow::Result<()> {
        let started = Instant::now();
        while TcpStream::connect(self.address).await.is_err() {
            let ended = self.process.try_wait()?;
            if ended.is_some() || started.elapsed() > PATIENCE {
                let said = std::fs::read_to_string(log).unwrap_or_default();
                bail!("{}", said.lines().next_back().unwrap_or("it says nothing"));
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Fails only when the group is gone already.
        let _gone = killpg(Pid::from_raw(self.pid()), Signal::SIGKILL);
    }
}

/// Peers look for `codex` there.
fn path_with_codex() -> anyhow::Result<std::ffi::OsString> {
    let codex = Tools::open().executable(Tool::Codex)?;
    let folder = codex.parent().context("Codex is in a folder")?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = [folder.to_owned()]
        .into_iter()
        .chain(std::env::split_paths(&path));
    Ok(std::env::join_paths(folders)?)
}
