//! A checkout of its own with an `.env`, and Compose in it, as an operator uses both.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tempfile::TempDir;
use xtask::command::{bound_to_parent, output};
use xtask::tools::{Tool, Tools};
use xtask::workspace;

use crate::client::{ApiClient, RECOVERY};
use crate::engine::{Bases, Engine};

/// The key in `.env`.
pub(crate) const KEY: &str = "sk-of-the-container-tests";
/// Time between two checks of a condition.
const POLL: Duration = Duration::from_millis(200);
/// The compose file that puts the stand-ins into the place of images from a registry.
const STANDINS: &str = "standins.yml";
/// The same for the images of the overlays.
const OVERLAY_STANDINS: &[(&str, &str)] = &[
    (RATE_LIMIT, "standins-ratelimit.yml"),
    (TRACING, "standins-tracing.yml"),
];

/// The compose file of the shared rate limit.
pub(crate) const RATE_LIMIT: &str = "deploy/ratelimit/compose.yaml";
/// The compose file of the collector.
pub(crate) const TRACING: &str = "deploy/tracing/compose.yaml";

/// The folder of the operator's files.
pub(crate) const CONFIG: &str = "deploy/docker/config";

/// The services that need an image of this repository.
const BUILT: &[&str] = &["envoy", "sidecar", "sidecar-demo", "model", "admin"];

/// A checkout and its project.
pub(crate) struct Stack<'a> {
    pub(crate) engine: &'a Engine,
    dir: TempDir,
    pub(crate) port: u16,
    pub(crate) status_port: u16,
    pub(crate) has_standins: bool,
}

impl<'a> Stack<'a> {
    /// Copies the files that Compose needs.
    pub(crate) fn new(engine: &'a Engine, bases: Option<&Bases>) -> Self {
        let dir = TempDir::new().expect("the temporary folder is writable");
        copy_checkout(dir.path());
        if let Some(bases) = bases {
            let write = |file, text| {
                fs::write(dir.path().join(file), text).expect("the folder is writable");
            };
            write(STANDINS, standins(bases));
            for (overlay, file) in OVERLAY_STANDINS {
                write(file, overlay_standins(overlay, bases));
            }
        }
        let stack = Self {
            engine,
            dir,
            port: free_port(),
            status_port: free_port(),
            has_standins: bases.is_some(),
        };
        stack.choose("demo", &[]);
        stack
    }

    /// Writes `.env`: the profiles, and further compose files.
    pub(crate) fn choose(&self, profiles: &str, files: &[&str]) {
        let mut all = vec!["docker-compose.yml"];
        all.extend(files);
        if self.has_standins {
            all.push(STANDINS);
        }
        for (overlay, standins) in OVERLAY_STANDINS {
            if self.has_standins && files.contains(overlay) {
                all.push(standins);
            }
        }
        let example = fs::read_to_string(self.path(".env.example")).expect("copied");
        let mut text = String::new();
        for line in example.lines() {
            let line = match line {
                "COMPOSE_PROFILES=live" => format!("COMPOSE_PROFILES={profiles}"),
                "PROXY_API_KEY=" => format!("PROXY_API_KEY={KEY}"),
                "#PORT=11435" => format!("PORT={}", self.port),
                "#STATUS_PORT=11436" => format!("STATUS_PORT={}", self.status_port),
                line => line.to_owned(),
            };
            writeln!(text, "{line}").expect("writes to memory do not fail");
        }
        writeln!(
            text,
            "COMPOSE_PROJECT_NAME={}\nCOMPOSE_FILE={}",
            self.project(),
            all.join(":")
        )
        .expect("writes to memory do not fail");
        fs::write(self.path(".env"), text).expect("the folder is writable");
    }

    fn project(&self) -> String {
        format!("codex-edge-test-{}", self.port)
    }

    /// The name of the image that Compose has built for a service.
    pub(crate) fn image(&self, service: &str) -> String {
        format!("{}-{service}", self.project())
    }

    /// Starts the demo without files of the operator. The containers that fit stay.
    pub(crate) fn reset(&self) {
        for file in ["filter.yaml", "envoy.yaml", "tls.crt", "tls.key"] {
            let _ = fs::remove_file(self.path(CONFIG).join(file)); // Mostly absent.
        }
        self.choose("demo", &[]);
        self.compose(&["up", "--detach", "--remove-orphans"]);
        self.client().wait_for_chat();
    }

    pub(crate) fn path(&self, file: &str) -> std::path::PathBuf {
        self.dir.path().join(file)
    }

    pub(crate) fn client(&self) -> ApiClient {
        ApiClient::new(self.port, KEY)
    }

    /// Runs a command of Compose and returns its output.
    pub(crate) fn compose(&self, arguments: &[&str]) -> String {
        self.try_compose(arguments)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) fn try_compose(&self, arguments: &[&str]) -> Result<String, String> {
        output(self.command().args(arguments)).map_err(|error| format!("{error:#}"))
    }

    /// Starts a command of Compose that runs until it gets a signal; its output goes to a file.
    pub(crate) fn spawn_compose(&self, arguments: &[&str], log: &str) -> Child {
        let log = fs::File::create(self.path(log)).expect("the folder is writable");
        let mut command = self.command();
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a descriptor is free"))
            .stderr(log);
        bound_to_parent(&mut command, Signal::SIGKILL);
        command.spawn().expect("Docker Compose is executable")
    }

    /// A command of Compose in the checkout.
    pub(crate) fn command(&self) -> Command {
        let program = Tools::open()
            .executable(Tool::Compose)
            .expect("Docker Compose was fetched: `cargo xtask fetch`");
        let mut command = self.engine.command(program);
        command.current_dir(self.dir.path());
        command
    }

    /// The environment of a build of the same images by another project, from the sources of the workspace.
    pub(crate) fn build_environment(&self) -> Vec<(&'static str, String)> {
        let mut files = workspace::root()
            .join("docker-compose.yml")
            .display()
            .to_string();
        if self.has_standins {
            write!(files, ":{}", self.path(STANDINS).display())
                .expect("writes to memory do not fail");
        }
        vec![
            ("COMPOSE_FILE", files),
            ("DOCKER_HOST", self.engine.host().to_owned()),
        ]
    }

    /// Runs a script in the container of a service.
    pub(crate) fn exec(&self, service: &str, script: &str) -> String {
        self.compose(&["exec", "-T", service, "sh", "-c", script])
    }

    /// Returns `SERVICE STATE HEALTH` of each container, in the order of the names.
    pub(crate) fn states(&self) -> Vec<String> {
        let table = self.compose(&[
            "ps",
            "--all",
            "--format",
            "{{.Service}} {{.State}} {{.Health}}",
        ]);
        let mut states: Vec<_> = table.lines().map(|line| line.trim().to_owned()).collect();
        states.sort();
        states
    }

    /// Waits until `ps` shows these states.
    pub(crate) fn wait_for_states(&self, expected: &[&str]) {
        let started = Instant::now();
        while self.states() != expected {
            let states = self.states();
            assert!(started.elapsed() < RECOVERY, "{states:?}, not {expected:?}");
            sleep(POLL);
        }
    }

    /// Waits until the log of a service contains a text.
    pub(crate) fn wait_for_log(&self, service: &str, text: &str) {
        let started = Instant::now();
        loop {
            let log = self.compose(&["logs", "--no-log-prefix", service]);
            if log.contains(text) {
                return;
            }
            assert!(
                started.elapsed() < RECOVERY,
                "`{text}` is not in the log of {service}:\n{log}"
            );
            sleep(POLL);
        }
    }
}

impl Drop for Stack<'_> {
    fn drop(&mut self) {
        // All profiles, since a failed part may have left another one running; kills at once.
        let down = [
            "--profile",
            "*",
            "down",
            "--volumes",
            "--timeout",
            "0",
            "--remove-orphans",
        ];
        if let Err(error) = self.try_compose(&down) {
            eprintln!("{error}");
        }
    }
}

/// A free port of loopback.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
    listener.local_addr().expect("the listener is bound").port()
}

/// Copies the build context and the files beside it; not the build output, which `.dockerignore` excludes too.
fn copy_checkout(to: &Path) {
    let ignore =
        fs::read_to_string(workspace::root().join(".dockerignore")).expect("a file of the tree");
    let mut paths: Vec<&str> = ignore
        .lines()
        .filter_map(|line| line.strip_prefix("!/"))
        .collect();
    paths.retain(|path| !path.starts_with("deploy/"));
    paths.extend([
        ".dockerignore",
        ".env.example",
        "Dockerfile",
        "deploy",
        "docker-compose.yml",
        "docker-compose.dev.yml",
    ]);
    let mut tar = Command::new("tar");
    tar.arg("--directory").arg(workspace::root());
    tar.args(["--create", "--exclude=node_modules", "--exclude=target"])
        .args(paths);
    let mut writer = tar
        .stdout(Stdio::piped())
        .spawn()
        .expect("tar is installed");
    let archive = writer.stdout.take().expect("stdout is piped");
    let unpacked = Command::new("tar")
        .arg("--directory")
        .arg(to)
        .arg("--extract")
        .stdin(archive)
        .status();
    assert!(unpacked.expect("tar is installed").success());
    assert!(writer.wait().expect("tar is a child").success());
}

/// The compose file of the stand-ins. Builds use this machine's network and link without LTO, as in the dev override.
fn standins(bases: &Bases) -> String {
    let mut text = String::from(
        "x-build: &build\n  network: host\n  args:\n    CARGO_PROFILE_RELEASE_LTO: \"off\"\n",
    );
    for (argument, image) in &bases.arguments {
        writeln!(text, "    {argument}: {image}").expect("writes to memory do not fail");
    }
    text.push_str("services:\n");
    for service in BUILT {
        writeln!(text, "  {service}: {{ build: *build }}").expect("writes to memory do not fail");
    }
    write!(
        text,
        "  prometheus: {{ image: \"{}\" }}\n  grafana: {{ profiles: !override [not-available] }}\n",
        bases.prometheus
    )
    .expect("writes to memory do not fail");
    text
}

/// The compose file of the stand-ins for the images of an overlay. The rate limit service and the collector are this
/// machine's builds, which run on the stand-in for Debian, as the two have the same C library or that of the machine is older.
fn overlay_standins(overlay: &str, bases: &Bases) -> String {
    let program = |name: &str| workspace::target_dir().join("debug").join(name);
    let debian = bases.debian();
    if overlay == TRACING {
        return format!(
            "services:\n  collector:\n    image: {debian}\n    entrypoint: [/bin/otlp-receiver]\n    volumes: [\"{}:/bin/otlp-receiver:ro\"]\n",
            program("otlp-receiver").display()
        );
    }
    format!(
        "services:\n  ratelimit:\n    image: {debian}\n    volumes: [\"{}:/bin/ratelimit:ro\"]\n  redis: {{ image: \"{}\" }}\n",
        program("rate-limit-service").display(),
        bases.redis
    )
}
