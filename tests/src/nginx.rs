//! The real nginx with the example configuration of the docs, started and stopped for a test.
//! Follows nginx's command line and `deploy/nginx/auth_request.conf`, with a test's own addresses.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};
use xtask::command::bound_to_parent;
use xtask::workspace;

use crate::http::{Client, DEADLINE};

/// Time between two checks of a condition.
const POLL: Duration = Duration::from_millis(10);

/// The main configuration around that file: one process, with all its files in its own folder.
const MAIN: &str = "daemon off; master_process off; pid nginx.pid; error_log error.log warn;
events {}
http {
    access_log off;
    client_body_temp_path temp; proxy_temp_path temp; fastcgi_temp_path temp; uwsgi_temp_path temp; scgi_temp_path temp;
    include auth_request.conf;
}
";

/// A running nginx; it is killed when dropped.
#[derive(Debug)]
pub struct Nginx {
    dir: TempDir,
    process: Child,
}

impl Nginx {
    /// Starts nginx in front of the service at the Unix socket `service`, with the edge at `edge` for `auth_request`;
    /// `change` edits the configuration last.
    pub async fn start(
        edge: SocketAddr,
        service: &Path,
        change: impl FnOnce(&str) -> String,
    ) -> Self {
        let dir = TempDir::new().expect("the temporary folder is writable");
        let listen = format!("listen unix:{}", socket(dir.path()).display());
        let text = render(&listen, edge, service);
        fs::write(dir.path().join("auth_request.conf"), change(&text))
            .expect("the temporary folder is writable");
        fs::write(dir.path().join("nginx.conf"), MAIN).expect("the temporary folder is writable");
        let process = spawn(dir.path());
        let mut nginx = Self { dir, process };
        nginx.wait_until_listening().await;
        nginx
    }

    /// Opens a connection to nginx.
    pub async fn connect(&self) -> Client {
        let client = Client::connect_unix(&socket(self.dir.path())).await;
        client.expect("nginx accepts a connection")
    }

    async fn wait_until_listening(&mut self) {
        let listening = async {
            while Client::connect_unix(&socket(self.dir.path()))
                .await
                .is_err()
            {
                let ended = self.process.try_wait().expect("the child can be polled");
                assert_eq!(ended, None, "nginx exits at its start");
                sleep(POLL).await;
            }
        };
        timeout(DEADLINE, listening).await.expect("nginx listens");
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.dir.path().join("error.log"));
            eprintln!("nginx's log:\n{}", log.unwrap_or_default());
        }
    }
}

fn socket(dir: &Path) -> PathBuf {
    dir.join("nginx.sock")
}

/// The shipped file with a test's addresses.
fn render(listen: &str, edge: SocketAddr, service: &Path) -> String {
    let shipped = workspace::root().join("deploy/nginx/auth_request.conf");
    let text = fs::read_to_string(shipped).expect("the file is in the tree");
    let (edge, service) = (format!("http://{edge}"), service.display());
    let literals = [
        ("listen 8080", listen.to_owned()),
        (
            "proxy_pass http://127.0.0.1:11435",
            format!("proxy_pass {edge}"),
        ),
        (
            "proxy_pass http://127.0.0.1:3000",
            format!("proxy_pass http://unix:{service}:"),
        ),
    ];
    literals.iter().fold(text, |text, (literal, value)| {
        assert_eq!(text.matches(literal).count(), 1, "`{literal}` occurs once");
        text.replace(literal, value)
    })
}

fn spawn(dir: &Path) -> Child {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("nginx");
    command
        .arg("-p")
        .arg(dir)
        .args(["-c", "nginx.conf", "-e", "error.log"])
        .env_clear()
        // Debian installs nginx in /usr/sbin, which is not on every user's PATH.
        .env("PATH", format!("{path}:/usr/sbin"))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    bound_to_parent(command.as_std_mut(), Signal::SIGKILL);
    let process = command.spawn();
    process.expect("nginx is installed: `apt-get install nginx`, as `cargo xtask test` does")
}
