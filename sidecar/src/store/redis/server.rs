//! A real redis-server for the tests, on a Unix socket in a folder of its own.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::address::RedisAddress;

/// Time for the server to listen.
const DEADLINE: Duration = Duration::from_secs(20);

/// A running server; it is killed when dropped.
#[derive(Debug)]
pub(in crate::store) struct RedisServer {
    dir: TempDir,
    process: Child,
}

impl RedisServer {
    pub(in crate::store) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let process = spawn(&dir);
        let server = Self { dir, process };
        server.wait();
        server
    }

    pub(in crate::store) fn address(&self) -> RedisAddress {
        let socket = self.dir.path().join("redis.sock");
        format!("redis+unix://{}", socket.display())
            .parse()
            .unwrap()
    }

    /// Opens a connection of the test's own.
    pub(in crate::store) fn connection(&self) -> redis::Connection {
        self.address().client().get_connection().unwrap()
    }

    /// Ends the leases of all processes, as after a pause that is longer than them.
    pub(in crate::store) fn end_leases(&self) {
        let mut connection = self.connection();
        let owners: Vec<String> = redis::cmd("KEYS")
            .arg("codex-edge:owner:*")
            .query(&mut connection)
            .unwrap();
        redis::cmd("DEL").arg(owners).exec(&mut connection).unwrap();
    }

    pub(in crate::store) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.process.id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    pub(in crate::store) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts the server again with its append-only file.
    pub(in crate::store) fn restart(&mut self) {
        self.process = spawn(&self.dir);
        self.wait();
    }

    fn wait(&self) {
        let client = self.address().client();
        let begun = Instant::now();
        let is_up = || {
            let connection = client.get_connection();
            connection.is_ok_and(|mut connection| redis::cmd("PING").exec(&mut connection).is_ok())
        };
        while !is_up() {
            assert!(begun.elapsed() < DEADLINE, "redis-server listens");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.process.kill().ok(); // Killed by the test.
        self.process.wait().ok();
    }
}

fn spawn(dir: &TempDir) -> Child {
    Command::new("redis-server")
        .args(["--port", "0", "--unixsocket", "redis.sock"])
        .args(["--save", "", "--appendonly", "yes"])
        .arg("--dir")
        .arg(dir.path())
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is installed: `cargo xtask test` names the package")
}
