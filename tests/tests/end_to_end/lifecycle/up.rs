//! `cargo xtask up --demo` as its user meets it: from the command to an answer, and to nothing left behind.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::sidecar::wait_until_gone;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;
use xtask::command::bound_to_parent;
use xtask::workspace;

/// It builds three release binaries first, on a machine that may be slow.
const BUILD_DEADLINE: Duration = Duration::from_secs(30 * 60);
const DEADLINE: Duration = Duration::from_secs(60);

struct Up {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    temp: PathBuf,
    curl: String,
    /// Where the status page is.
    status_page: String,
}

impl Up {
    /// Starts it on `port` and waits for the curl line.
    async fn start(port: u16, temp: &std::path::Path) -> Self {
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
        let mut process = command.spawn().expect("cargo is there");
        let stdout = process.stdout.take().expect("stdout is piped");
        let mut lines = BufReader::new(stdout).lines();
        let (said, curl) = timeout(BUILD_DEADLINE, wait_for_curl(&mut lines))
            .await
            .expect("it gets ready");
        let status_page = said
            .lines()
            .find_map(|line| line.strip_prefix("  status    "));
        Self {
            process,
            lines,
            temp: temp.to_owned(),
            curl,
            status_page: status_page.expect("it is told").to_owned(),
        }
    }

    /// Runs the line that it printed, as a person would paste it.
    async fn answer(&self) -> String {
        bash(&self.curl).await
    }

    /// The status page, as a person would open it.
    async fn status_page(&self) -> String {
        bash(&format!("curl {}", self.status_page)).await
    }

    /// All processes below it.
    fn descendants(&self) -> Vec<i32> {
        let root = i32::try_from(self.process.id().expect("it runs")).expect("a pid fits");
        let mut all = vec![root];
        let mut next = 0;
        while let Some(&pid) = all.get(next) {
            all.extend(tests::sidecar::children_of(pid));
            next += 1;
        }
        all
    }

    async fn ends_after(mut self, signal: Signal, pid: i32) -> ExitStatus {
        kill(Pid::from_raw(pid), signal).expect("the process is ours");
        let drain = async { while let Ok(Some(_)) = self.lines.next_line().await {} };
        timeout(DEADLINE, drain)
            .await
            .expect("it closes its output");
        let status = timeout(DEADLINE, self.process.wait())
            .await
            .expect("it ends");
        let left: Vec<_> = std::fs::read_dir(&self.temp)
            .expect("the folder is ours")
            .map(|entry| entry.expect("the folder is ours").path())
            .collect();
        assert_eq!(
            left,
            Vec::<PathBuf>::new(),
            "no socket and no folder is left behind"
        );
        status.expect("the child is ours")
    }
}

async fn bash(line: &str) -> String {
    let output = Command::new("bash").args(["-c", line]).output();
    let output = timeout(DEADLINE, output)
        .await
        .expect("curl ends")
        .expect("bash is there");
    String::from_utf8(output.stdout).expect("an answer is UTF-8")
}

/// What it says before the curl line, and that line.
async fn wait_for_curl(lines: &mut Lines<BufReader<ChildStdout>>) -> (String, String) {
    let mut said = String::new();
    while let Some(line) = lines.next_line().await.expect("its output can be read") {
        if line.starts_with("curl ") {
            return (said, line);
        }
        said = said + &line + "\n";
    }
    panic!("it ended before it was ready:\n{said}");
}

#[tokio::test]
async fn up_answers_stops_and_starts_again() {
    let temp = tempfile::TempDir::new().unwrap();
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .unwrap()
        .port();

    let up = Up::start(port, temp.path()).await;
    let answer = up.answer().await;
    assert!(
        answer.contains(r#""delta":{"role":"assistant"}"#),
        "{answer}"
    );
    assert!(answer.trim_end().ends_with("data: [DONE]"), "{answer}");
    let page = up.status_page().await;
    assert!(page.contains("<h1>codex-edge</h1>"), "{page}");
    let (all, own) = (up.descendants(), up.process.id().unwrap());
    assert!(
        all.len() >= 5,
        "cargo or xtask, model, sidecar, Codex, Envoy: {all:?}"
    );
    let status = up
        .ends_after(Signal::SIGTERM, i32::try_from(own).unwrap())
        .await;
    assert!(status.success(), "{status}");
    wait_until_gone(&all).await;

    let up = Up::start(port, temp.path()).await;
    let all = up.descendants();
    let sidecar = all
        .iter()
        .copied()
        .find(|pid| is_sidecar(*pid))
        .expect("a sidecar runs");
    let status = up.ends_after(Signal::SIGKILL, sidecar).await;
    assert_eq!(status.code(), Some(1), "a service that dies is an error");
    wait_until_gone(&all).await;

    let up = Up::start(port, temp.path()).await;
    assert!(up.answer().await.contains("[DONE]"));
    let (all, own) = (up.descendants(), up.process.id().unwrap());
    let status = up
        .ends_after(Signal::SIGINT, i32::try_from(own).unwrap())
        .await;
    assert!(status.success(), "{status}");
    wait_until_gone(&all).await;
}

fn is_sidecar(pid: i32) -> bool {
    let exe = std::fs::read_link(format!("/proc/{pid}/exe"));
    exe.is_ok_and(|exe| exe.ends_with("release/sidecar"))
}
