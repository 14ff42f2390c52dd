//! The real redis-server on a Unix socket, started and stopped for a test.
//! Started as `deploy/fleet` does, without its limit of memory.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};
use xtask::command::bound_to_parent;

use crate::http::DEADLINE;

/// Time between two checks of a condition.
const POLL: Duration = Duration::from_millis(10);

/// A running redis-server; it is killed when dropped.
#[derive(Debug)]
pub struct Redis {
    dir: TempDir,
    process: Child,
}

impl Redis {
    /// Starts a server with an empty folder.
    pub async fn start() -> Self {
        let dir = TempDir::new().expect("the temporary folder is writable");
        let process = spawn(&dir);
        let mut redis = Self { dir, process };
        redis.wait_until_listening().await;
        redis
    }

    /// The value of `PROXY_STATE` for this server.
    pub fn address(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    /// Sends `signal` to the server.
    pub fn signal(&self, signal: Signal) {
        let pid = self.process.id().expect("the server was not reaped yet");
        let pid = i32::try_from(pid).expect("a pid fits");
        kill(Pid::from_raw(pid), signal).expect("the server can be signalled");
    }

    /// Kills the server.
    pub async fn kill(&mut self) {
        self.process.kill().await.expect("the server can be killed");
    }

    /// Starts the server again with its file.
    pub async fn restart(&mut self) {
        self.process = spawn(&self.dir);
        self.wait_until_listening().await;
    }

    /// The socket of the server.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("redis.sock")
    }

    async fn wait_until_listening(&mut self) {
        let listening = async {
            while UnixStream::connect(self.socket()).await.is_err() {
                let ended = self.process.try_wait().expect("the child can be polled");
                assert_eq!(ended, None, "redis-server exits at its start");
                sleep(POLL).await;
            }
        };
        timeout(DEADLINE, listening)
            .await
            .expect("redis-server listens");
    }
}

fn spawn(dir: &TempDir) -> Child {
    let mut command = Command::new("redis-server");
    command
        .args(["--port", "0", "--unixsocket", "redis.sock"])
        .args(["--save", "", "--appendonly", "yes"])
        .args(["--maxmemory-policy", "noeviction"])
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true);
    bound_to_parent(command.as_std_mut(), Signal::SIGKILL);
    command
        .spawn()
        .expect("redis-server is installed: `cargo xtask test` names the package")
}
