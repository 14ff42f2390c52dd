//! `cargo xtask up --demo` as its user runs it: start, the printed curl line, stop, and cleanup.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::sidecar::wait_until_gone;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;
use xtask::command::{bound_to_parent, write_program};
use xtask::tools::{Tool, Tools};
use xtask::workspace;

/// Deadline of the start, which builds three release binaries first, possibly on a slow machine.
const BUILD_DEADLINE: Duration = Duration::from_secs(30 * 60);
const DEADLINE: Duration = Duration::from_secs(60);

/// A running `cargo xtask up --demo`.
struct UpProcess {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    temp: PathBuf,
    /// The printed curl line.
    curl: String,
    /// The printed URL of the status page.
    status_page: String,
}

impl UpProcess {
    /// Starts `up` on `port` and waits for the curl line.
    async fn start(port: u16, temp: &Path) -> Self {
        let mut process = up(port, temp).spawn().expect("cargo is installed");
        let stdout = process.stdout.take().expect("stdout is piped");
        let mut lines = BufReader::new(stdout).lines();
        let (output, curl) = timeout(BUILD_DEADLINE, wait_for_curl(&mut lines))
            .await
            .expect("`up` is ready before the deadline");
        let status_page = output
            .lines()
            .find_map(|line| line.strip_prefix("  status    "))
            .expect("the URL of the status page is printed");
        Self {
            process,
            lines,
            temp: temp.to_owned(),
            curl,
            status_page: status_page.to_owned(),
        }
    }

    /// Runs the printed curl line in a shell, and returns its output.
    async fn response(&self) -> String {
        bash(&self.curl).await
    }

    /// Fetches the status page from the printed URL.
    async fn status_page(&self) -> String {
        bash(&format!("curl {}", self.status_page)).await
    }

    /// The process itself and all its descendants.
    fn descendants(&self) -> Vec<i32> {
        let root = i32::try_from(self.process.id().expect("the process was not reaped"))
            .expect("a pid fits");
        let mut all = vec![root];
        let mut next = 0;
        while let Some(&pid) = all.get(next) {
            all.extend(tests::sidecar::children_of(pid));
            next += 1;
        }
        all
    }

    /// Sends `signal` to process `pid`, waits for the exit of `up`, and asserts that its temporary folder is empty.
    async fn exit_after(mut self, signal: Signal, pid: i32) -> ExitStatus {
        kill(Pid::from_raw(pid), signal).expect("the signal is sent");
        let drain = async { while let Ok(Some(_)) = self.lines.next_line().await {} };
        timeout(DEADLINE, drain)
            .await
            .expect("`up` closes its output");
        let status = timeout(DEADLINE, self.process.wait())
            .await
            .expect("`up` exits in time");
        let left: Vec<_> = std::fs::read_dir(&self.temp)
            .expect("the test folder is writable")
            .map(|entry| entry.expect("the test folder is writable").path())
            .collect();
        assert_eq!(
            left,
            Vec::<PathBuf>::new(),
            "neither socket nor folder is left"
        );
        status.expect("the process was not reaped")
    }
}

/// The command of `up` on `port`.
fn up(port: u16, temp: &Path) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["xtask", "up", "--demo"])
        .current_dir(workspace::root())
        .env("PORT", port.to_string())
        .env("PROXY_API_KEY", "sk-of-the-test")
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

#[tokio::test]
async fn up_serves_stops_and_starts_again() {
    let temp = tempfile::TempDir::new().unwrap();
    let port = adjacent_ports();

    let up = UpProcess::start(port, temp.path()).await;
    let response = up.response().await;
    assert!(
        response.contains(r#""delta":{"role":"assistant"}"#),
        "{response}"
    );
    assert!(response.trim_end().ends_with("data: [DONE]"), "{response}");
    let page = up.status_page().await;
    assert!(page.contains("<h1>codex-edge</h1>"), "{page}");
    let (all, own) = (up.descendants(), up.process.id().unwrap());
    assert!(
        all.len() >= 5,
        "cargo or xtask, model, sidecar, Codex, Envoy: {all:?}"
    );
    let status = up
        .exit_after(Signal::SIGTERM, i32::try_from(own).unwrap())
        .await;
    assert!(status.success(), "{status}");
    wait_until_gone(&all).await;

    let up = UpProcess::start(port, temp.path()).await;
    let all = up.descendants();
    let sidecar = all
        .iter()
        .copied()
        .find(|pid| is_sidecar(*pid))
        .expect("a sidecar is running");
    let status = up.exit_after(Signal::SIGKILL, sidecar).await;
    assert_eq!(status.code(), Some(1), "`up` fails when a service exits");
    wait_until_gone(&all).await;

    let up = UpProcess::start(port, temp.path()).await;
    assert!(up.response().await.contains("[DONE]"));
    let (all, own) = (up.descendants(), up.process.id().unwrap());
    let status = up
        .exit_after(Signal::SIGINT, i32::try_from(own).unwrap())
        .await;
    assert!(status.success(), "{status}");
    wait_until_gone(&all).await;
}

#[tokio::test]
async fn second_up_serves_on_the_next_port() {
    let temp = tempfile::TempDir::new().unwrap();
    let port = adjacent_ports();
    let temps = [temp.path().join("1"), temp.path().join("2")];
    for temp in &temps {
        std::fs::create_dir(temp).unwrap();
    }
    let first = UpProcess::start(port, &temps[0]).await;
    let second = UpProcess::start(port + 1, &temps[1]).await;
    for up in [&first, &second] {
        let response = up.response().await;
        assert!(response.contains("[DONE]"), "{response}");
        let page = up.status_page().await;
        assert!(page.contains("<h1>codex-edge</h1>"), "{page}");
    }
    for up in [second, first] {
        let pid = i32::try_from(up.process.id().unwrap()).unwrap();
        assert!(up.exit_after(Signal::SIGTERM, pid).await.success());
    }
}

#[tokio::test]
async fn listener_that_envoy_cannot_bind_ends_up_with_its_address() {
    let temp = tempfile::TempDir::new().unwrap();
    let port = adjacent_ports();
    // An Envoy that starts only when the test has taken its port, which `up` has found free.
    let envoy = Tools::open().executable(Tool::Envoy).unwrap();
    let wrapper = temp.path().join("envoy");
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = -c ]; then\n  : >{dir}/begun\n  \
         while [ ! -e {dir}/taken ]; do sleep 0.05; done\nfi\nexec {envoy} \"$@\"",
        dir = temp.path().display(),
        envoy = envoy.display(),
    );
    write_program(&wrapper, &script).unwrap();
    let mut command = up(port, temp.path());
    command.env("ENVOY_BIN", &wrapper).stderr(Stdio::piped());
    let take_the_port = async {
        while !temp.path().join("begun").exists() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let taken = TcpListener::bind(("127.0.0.1", port)).expect("the port is still free");
        std::fs::write(temp.path().join("taken"), "").unwrap();
        taken
    };
    let both = async { tokio::join!(command.output(), take_the_port) };
    let (output, _taken) = timeout(BUILD_DEADLINE, both)
        .await
        .expect("`up` ends by itself");
    let output = output.expect("cargo is installed");
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    let reason = format!(
        "stopping: envoy ended by itself: cannot bind '127.0.0.1:{port}': Address already in use"
    );
    assert!(stderr.contains(&reason), "{stderr}");
}

/// Returns a free port whose successor is free too.
fn adjacent_ports() -> u16 {
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port));
    loop {
        let first = free(0).expect("a loopback port is free");
        let port = first.local_addr().expect("the listener is bound").port();
        if port < u16::MAX && free(port + 1).is_ok() {
            return port;
        }
    }
}

fn is_sidecar(pid: i32) -> bool {
    let exe = std::fs::read_link(format!("/proc/{pid}/exe"));
    exe.is_ok_and(|exe| exe.ends_with("release/sidecar"))
}
