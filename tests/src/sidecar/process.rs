//! A running sidecar: its sockets, its log, its signals, its restart and its replacement.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};
use xtask::command::bound_to_parent;
use xtask::test::WARM_THREADS;

use crate::http::{BufferedResponse, Client, DEADLINE, get};
use crate::processes::children_of;

/// Time between two checks of a condition.
const POLL: Duration = Duration::from_millis(10);

/// A running sidecar with a private folder for its sockets, its log, Codex's home and its temporary files.
#[derive(Debug)]
pub struct Sidecar {
    dir: TempDir,
    program: PathBuf,
    env: Vec<(String, String)>,
    process: Child,
}

/// A sidecar that drains after SIGTERM while its successor already runs.
#[derive(Debug)]
pub struct Predecessor(Child);

impl Sidecar {
    /// Starts `program` in its private folder `dir`.
    pub(super) fn spawn_in(dir: TempDir, program: PathBuf, env: Vec<(String, String)>) -> Self {
        let process = run_in(dir.path(), &program, &env);
        Self {
            dir,
            program,
            env,
            process,
        }
    }

    /// The path of the sidecar's API socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("sidecar.sock")
    }

    /// The path of the sidecar's admin socket.
    pub fn admin_socket(&self) -> PathBuf {
        self.dir.path().join("admin.sock")
    }

    /// Opens a connection to the admin socket.
    pub async fn connect_admin(&self) -> Client {
        Client::connect_unix(&self.admin_socket())
            .await
            .expect("the sidecar accepts a connection")
    }

    /// The sidecar's private folder: sockets, log, Codex's home, and the sidecar's `TMPDIR`.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Names in the private folder besides the log and Codex's home; empty after a clean exit.
    pub fn leftover_files(&self) -> Vec<String> {
        fs::read_dir(self.dir())
            .expect("the private folder is readable")
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| name != "log" && name != "codex-home")
            .collect()
    }

    /// Opens a connection to the API socket, as Envoy does.
    pub async fn connect(&self) -> Client {
        Client::connect_unix(&self.socket())
            .await
            .expect("the sidecar accepts a connection")
    }

    /// The log so far, including that of earlier processes in the same folder.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Waits until `/readyz` returns 200.
    pub async fn wait_until_ready(&mut self) -> BufferedResponse {
        self.wait_for_readiness(|response| response.status == 200)
            .await
    }

    /// Waits until `/readyz` returns a response that `wanted` accepts.
    pub async fn wait_for_readiness(
        &mut self,
        wanted: impl Fn(&BufferedResponse) -> bool,
    ) -> BufferedResponse {
        let ready = async {
            loop {
                if let Some(status) = self.process.try_wait().expect("the child can be polled") {
                    panic!("the sidecar ended with {status}:\n{}", self.log());
                }
                if let Ok(mut client) = Client::connect_unix(&self.socket()).await
                    && let Ok(response) = client.send(get("/readyz")).await
                    && wanted(&response)
                {
                    return response;
                }
                sleep(POLL).await;
            }
        };
        timeout(DEADLINE, ready)
            .await
            .unwrap_or_else(|_| panic!("unexpected /readyz until the deadline:\n{}", self.log()))
    }

    /// The sidecar's pid; `None` after the process was reaped.
    pub fn id(&self) -> Option<i32> {
        self.process.id().and_then(|id| i32::try_from(id).ok())
    }

    /// The pids of the sidecar's children that run now, oldest first.
    pub fn children(&self) -> Vec<i32> {
        self.id().map(children_of).unwrap_or_default()
    }

    /// The sidecar's pid, before the process is reaped.
    pub fn pid(&self) -> i32 {
        self.id().expect("the sidecar was not reaped yet")
    }

    /// Sends `signal` to the sidecar alone, not to its process group.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).expect("the sidecar can be signalled");
    }

    /// Starts the sidecar again in the same folder with the same settings, without waiting for its readiness. The
    /// previous process must have been reaped.
    pub fn restart(&mut self) {
        assert_eq!(self.id(), None, "the sidecar was reaped");
        self.process = run_in(self.dir.path(), &self.program, &self.env);
    }

    /// Sends SIGTERM and starts the successor at once, as an upgrade does; waits until the successor listens.
    pub async fn upgrade(&mut self) -> Predecessor {
        let starts = |log: String| log.matches("sidecar started").count();
        let before = starts(self.log());
        self.signal(Signal::SIGTERM);
        let successor = run_in(self.dir.path(), &self.program, &self.env);
        let predecessor = Predecessor(std::mem::replace(&mut self.process, successor));
        let started = async {
            while starts(self.log()) == before {
                sleep(POLL).await;
            }
        };
        let started = timeout(DEADLINE, started).await;
        assert!(started.is_ok(), "the successor starts:\n{}", self.log());
        predecessor
    }

    /// Waits for the exit without a deadline and returns the exit code; `None` after a signal. The future may be
    /// dropped before completion.
    pub async fn ended(&mut self) -> Option<i32> {
        let status = self.process.wait().await;
        status.expect("the child can be awaited").code()
    }

    /// Waits for the exit and returns the exit code; `None` after a signal.
    pub async fn wait(&mut self) -> Option<i32> {
        let code = timeout(DEADLINE * 2, self.ended()).await;
        code.unwrap_or_else(|_| panic!("the sidecar does not exit:\n{}", self.log()))
    }
}

impl Predecessor {
    /// Waits for the exit and returns the exit code; `None` after a signal.
    pub async fn wait(mut self) -> Option<i32> {
        timeout(DEADLINE * 2, self.0.wait())
            .await
            .expect("the predecessor exits when its turns have ended")
            .expect("the child can be awaited")
            .code()
    }
}

impl Drop for Predecessor {
    fn drop(&mut self) {
        // Fails only after the process was reaped.
        let _ = self.0.start_kill();
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        // Fails only after the process was reaped.
        let _ = self.process.start_kill();
        if std::thread::panicking() {
            eprintln!("the sidecar's log:\n{}", self.log());
        }
    }
}

/// Starts a sidecar with all its files in `dir`; its log is appended to that of earlier processes.
fn run_in(dir: &Path, program: &Path, env: &[(String, String)]) -> Child {
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(dir.join("log"))
        .expect("the private folder is writable");
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("CODEX_HOME", dir.join("codex-home"))
        .env("TMPDIR", dir)
        .env("RUST_LOG", "info,sidecar=debug")
        .env(
            "SIDECAR_LISTEN",
            format!("unix:{}", dir.join("sidecar.sock").display()),
        )
        .env(
            "SIDECAR_ADMIN_LISTEN",
            format!("unix:{}", dir.join("admin.sock").display()),
        )
        .envs(std::env::var_os(WARM_THREADS).map(|threads| (WARM_THREADS, threads)))
        // Last, so that a test can override each variable above.
        .envs(env.iter().cloned())
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    bound_to_parent(command.as_std_mut(), Signal::SIGKILL);
    command.spawn().expect("the sidecar is executable")
}
