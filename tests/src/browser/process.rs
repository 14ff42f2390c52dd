//! The process of a browser: the real Chromium without a window, with a profile of its own.
//! Follows Chromium's command line.

use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use xtask::command::bound_to_parent;

use crate::http::DEADLINE;

/// Deadline for a page; a start of Chromium is slow on a machine that runs other tests.
pub(super) const PAGE_DEADLINE: Duration = DEADLINE.saturating_mul(3);

/// Flags for the features that a page needs: no background requests, and no sandbox, which Chromium refuses to run as
/// root. All pages are from this repository.
const FLAGS: [&str; 11] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-breakpad",
    "--disable-crash-reporter",
];

/// Starts Chromium with its DevTools pipes: it reads commands from descriptor 3 and writes to descriptor 4.
const ON_PIPES: &str =
    "exec chromium --remote-debugging-pipe \"$@\" 3<&0 4>&1 </dev/null >/dev/null";

/// A running browser; killed when dropped.
#[derive(Debug)]
pub(super) struct Browser {
    process: Child,
    _profile: TempDir,
}

impl Browser {
    /// Opens `url` without a control connection.
    pub(super) fn open(url: &str) -> Self {
        let mut command = Command::new("chromium");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Self::start(command, url)
    }

    /// Opens an empty page, with the DevTools protocol on two pipes.
    pub(super) fn open_with_devtools() -> (Self, ChildStdin, ChildStdout) {
        let mut command = Command::new("sh");
        command
            .args(["-c", ON_PIPES, "sh"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut browser = Self::start(command, "about:blank");
        let commands = browser.process.stdin.take();
        let responses = browser.process.stdout.take();
        (
            browser,
            commands.expect("the stream is piped"),
            responses.expect("the stream is piped"),
        )
    }

    fn start(mut command: Command, url: &str) -> Self {
        let profile = TempDir::new().expect("the temporary folder is writable");
        command
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(url)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", profile.path())
            .process_group(0)
            // Chromium logs warnings about the missing desktop.
            .stderr(Stdio::null());
        bound_to_parent(command.as_std_mut(), Signal::SIGKILL);
        let process = command.spawn();
        Self {
            process: process.expect(
                "Chromium is there: `apt-get install chromium`, as `cargo xtask test` does",
            ),
            _profile: profile,
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(id) = self.process.id() {
            let group = Pid::from_raw(i32::try_from(id).expect("a pid fits an i32"));
            // Fails only when the group is gone already.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}
