//! The real Chromium without a window, with one page that makes requests and reports what came of them.
//! Follows Chromium's command line; the page's own server is in `server`.

mod server;

use std::process::Stdio;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::timeout;
use xtask::command::bound_to_us;

use crate::http::DEADLINE;
use server::Server;

/// A start on a machine that is busy with other tests takes its time.
const REPORT_DEADLINE: std::time::Duration = DEADLINE.saturating_mul(3);

/// As much of Chromium as a page needs: nothing that calls home, and no sandbox, which it refuses to have as root. The
/// page is ours.
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

/// An open page; its browser is killed when it is dropped.
#[derive(Debug)]
pub struct Page {
    server: Server,
    process: Child,
    _profile: TempDir,
}

impl Page {
    /// Opens `html` as a page of `http://{host}:` and a port of its own, with `query` for its script. Both `127.0.0.1`
    /// and `localhost` will do for a host, and are two origins.
    pub async fn open(html: Vec<u8>, host: &str, query: &[(&str, &str)]) -> Self {
        let server = Server::start(html).await;
        let query: Vec<_> = query
            .iter()
            .map(|(name, value)| format!("{name}={}", encode(value)))
            .collect();
        let url = format!("http://{host}:{}/?{}", server.port(), query.join("&"));
        let profile = TempDir::new().expect("the temporary folder can be written");
        let process = spawn(&profile, &url);
        Self {
            server,
            process,
            _profile: profile,
        }
    }

    /// What the page reports next.
    pub async fn report(&mut self) -> Value {
        let report = timeout(REPORT_DEADLINE, self.server.report()).await;
        report.expect("the page reports in time")
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        if let Some(id) = self.process.id() {
            let group = Pid::from_raw(i32::try_from(id).expect("a pid fits"));
            // Fails only when the group is gone already.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

fn spawn(profile: &TempDir, url: &str) -> Child {
    let mut command = Command::new("chromium");
    command
        .args(FLAGS)
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(url)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", profile.path())
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        // It complains of the desktop that is not there.
        .stderr(Stdio::null());
    bound_to_us(command.as_std_mut(), Signal::SIGKILL);
    let process = command.spawn();
    process.expect("Chromium is there: `apt-get install chromium`, as .ci/run does")
}

/// `text` as a value in a query (RFC 3986, section 2.1).
fn encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
