//! A running `up`, of a clone or of an installed package: its output, its processes and its end.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;
use xtask::command::bound_to_parent;

use crate::sidecar::wait_until_gone;

/// Deadline of the start, which may build release binaries first, possibly on a slow machine.
pub const BUILD_DEADLINE: Duration = Duration::from_secs(30 * 60);
/// The key of the started stacks.
pub const UP_KEY: &str = "sk-of-the-test";
const DEADLINE: Duration = Duration::from_secs(60);

/// A running `up --demo`.
#[derive(Debug)]
pub struct UpProcess {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    temp: PathBuf,
    /// The printed curl line.
    curl: String,
    /// The printed URL of the status page.
    status_page: String,
    /// The printed place of the sidecar's state.
    state: String,
}

impl UpProcess {
    /// Starts `command` and waits for the curl line. `temp` is its `TMPDIR`.
    ///
    /// # Panics
    /// When the stack is not ready before the deadline.
    pub async fn start(mut command: Command, temp: &Path) -> Self {
        let mut process = command.spawn().expect("the program is installed");
        let stdout = process.stdout.take().expect("stdout is piped");
        let mut lines = BufReader::new(stdout).lines();
        let (output, curl) = timeout(BUILD_DEADLINE, wait_for_curl(&mut lines))
            .await
            .expect("`up` is ready before the deadline");
        let printed = |head: &str| {
            let mut lines = output.lines();
            let found = lines.find_map(|line| line.strip_prefix(head));
            found.expect("the banner has the line").to_owned()
        };
        Self {
            process,
            lines,
            temp: temp.to_owned(),
            curl,
            status_page: printed("  status    "),
            state: printed("  state     "),
        }
    }

    /// Runs the printed curl line in a shell, and returns its output.
    pub async fn response(&self) -> String {
        bash(&self.curl).await
    }

    /// Fetches the status page from the printed URL.
    pub async fn status_page(&self) -> String {
        bash(&format!("curl {}", self.status_page)).await
    }

    /// Asserts that the printed curl line streams an answer, that the status page is served, and that the state is in a file,
    /// as by default.
    ///
    /// # Panics
    /// When one of them is not.
    pub async fn assert_answers(&self) {
        let response = self.response().await;
        assert!(
            response.contains(r#""delta":{"role":"assistant"}"#),
            "{response}"
        );
        assert!(response.trim_end().ends_with("data: [DONE]"), "{response}");
        let page = self.status_page().await;
        assert!(page.contains("<h1>codex-edge</h1>"), "{page}");
        assert_eq!(self.state, "SQLite, in a file");
    }

    /// Sends `signal` to the process, and asserts that it exits successfully with its descendants and its files.
    ///
    /// # Panics
    /// When something is left.
    pub async fn assert_stops_after(self, signal: Signal) {
        let (all, own) = (self.descendants(), self.pid());
        let status = self.exit_after(signal, own).await;
        assert!(status.success(), "{status}");
        wait_until_gone(&all).await;
    }

    /// The pid of the process that was started.
    ///
    /// # Panics
    /// When the process was reaped.
    pub fn pid(&self) -> i32 {
        let pid = self.process.id().expect("the process was not reaped");
        i32::try_from(pid).expect("a pid fits")
    }

    /// The process itself and all its descendants.
    pub fn descendants(&self) -> Vec<i32> {
        let mut all = vec![self.pid()];
        let mut next = 0;
        while let Some(&pid) = all.get(next) {
            all.extend(crate::sidecar::children_of(pid));
            next += 1;
        }
        all
    }

    /// Sends `signal` to process `pid`, waits for the exit of `up`, and asserts that its temporary folder is empty.
    ///
    /// # Panics
    /// When `up` does not exit in time, or leaves a file.
    pub async fn exit_after(self, signal: Signal, pid: i32) -> ExitStatus {
        let temp = self.temp.clone();
        let status = self.end_after(signal, pid).await;
        let left: Vec<_> = std::fs::read_dir(&temp)
            .expect("the test folder is writable")
            .map(|entry| entry.expect("the test folder is writable").path())
            .collect();
        assert_eq!(
            left,
            Vec::<PathBuf>::new(),
            "neither socket nor folder is left"
        );
        status
    }

    /// Sends `signal` to process `pid`, and waits for the exit of `up`.
    ///
    /// # Panics
    /// When `up` does not exit in time.
    pub async fn end_after(mut self, signal: Signal, pid: i32) -> ExitStatus {
        kill(Pid::from_raw(pid), signal).expect("the signal is sent");
        let drain = async { while let Ok(Some(_)) = self.lines.next_line().await {} };
        timeout(DEADLINE, drain)
            .await
            .expect("`up` closes its output");
        let status = timeout(DEADLINE, self.process.wait())
            .await
            .expect("`up` exits in time");
        status.expect("the process was not reaped")
    }
}

/// The command of `up --demo` on `port`, as its user's shell runs it. `arguments` come before `up`.
pub fn up_command(
    program: impl AsRef<OsStr>,
    arguments: &[&str],
    port: u16,
    temp: &Path,
) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .args(["up", "--demo"])
        .env("PORT", port.to_string())
        .env("PROXY_API_KEY", UP_KEY)
        .env("TMPDIR", temp)
        .env_remove("CODEX_HOME")
        .env_remove("SIDECAR_ADMIN_LISTEN")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    bound_to_parent(command.as_std_mut(), Signal::SIGTERM);
    command
}

async fn bash(line: &str) -> String {
    let output = timeout(DEADLINE, Command::new("bash").args(["-c", line]).output())
        .await
        .expect("curl exits in time")
        .expect("bash is installed");
    String::from_utf8(output.stdout).expect("the response is UTF-8")
}

/// Reads the output of `up` until the curl line; returns the output before that line, and the line.
async fn wait_for_curl(lines: &mut Lines<BufReader<ChildStdout>>) -> (String, String) {
    let mut output = String::new();
    while let Some(line) = lines.next_line().await.expect("stdout is readable") {
        if line.starts_with("curl ") {
            return (output, line);
        }
        output = output + &line + "\n";
    }
    panic!("`up` exited before it was ready:\n{output}");
}

/// Returns a free loopback port whose successor is free too.
///
/// # Panics
/// When no port is free.
pub fn adjacent_ports() -> u16 {
    let free = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port));
    loop {
        let first = free(0).expect("a loopback port is free");
        let port = first.local_addr().expect("the listener is bound").port();
        if port < u16::MAX && free(port + 1).is_ok() {
            return port;
        }
    }
}
