//! The scripts that Kubernetes and systemd run at start and stop: the drain of a real Envoy and the login of a real
//! Codex. Also the order of the stop timeouts.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tests::envoy::{Envoy, EnvoyOptions};
use tests::http::{DEADLINE, Version, get};
use tests::sidecar::sidecar_binary;
use tests::upstream::{Behavior, Upstream};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use xtask::command::output;
use xtask::tools::{Tool, Tools};

use crate::files::text;
use crate::kubernetes::{container, pod};

/// Upper bound of a worker's stop after the drain, in seconds: the grace period of the child and a margin.
const CHILD_STOP_SECONDS: u64 = 10;

/// Returns the script of a shell command.
fn script(command: &Value) -> String {
    let shell = (&command[0], &command[1]);
    assert_eq!(shell, (&"/bin/sh".into(), &"-c".into()));
    command[2].as_str().expect("a script").to_owned()
}

/// Returns the drain script, which is the preStop hook of the sidecar's container.
fn drain_script() -> String {
    script(&container("sidecar")["lifecycle"]["preStop"]["exec"]["command"])
}

fn sh(script: &str) -> Command {
    let mut sh = Command::new("sh");
    sh.args(["-c", script]);
    sh.stdin(Stdio::null()).stdout(Stdio::null());
    sh.stderr(Stdio::null()).kill_on_drop(true);
    sh
}

/// Starts the drain script for the Envoy in the folder `envoy`, without the delay in which a Service removes the pod.
fn start_drain(envoy: &Path) -> Child {
    let admin = envoy.join("envoy-admin.sock");
    let script = drain_script()
        .replace(
            "/run/codex-edge/envoy-admin.sock",
            &admin.display().to_string(),
        )
        .replace("sleep 5", "sleep 0");
    sh(&script).spawn().expect("sh is installed")
}

async fn assert_succeeds(mut drain: Child) {
    let status = timeout(DEADLINE, drain.wait())
        .await
        .expect("the drain script ends")
        .expect("the drain script is a child of this process");
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn drain_script_waits_for_running_streams() {
    let upstream = Upstream::start(Behavior::Events {
        count: 8,
        every: Duration::from_millis(500),
    });
    let options = EnvoyOptions::new(upstream.socket()).filter("auth", "none".into());
    let envoy = Envoy::start(options).await;
    let mut client = envoy.connect(Version::H1).await;
    let mut stream = client
        .stream(get("/v1/usage"))
        .await
        .expect("Envoy answers");
    stream.next().await.unwrap().expect("a first event");
    let mut drain = start_drain(envoy.dir());
    let mut events = 1;
    while let Some(chunk) = stream.next().await.expect("the stream is not aborted") {
        events += String::from_utf8_lossy(&chunk.data)
            .matches("data: ")
            .count();
        if events < 8 {
            assert_eq!(drain.try_wait().unwrap(), None, "the drain script waits");
        }
    }
    assert_eq!(events, 8);
    assert_succeeds(drain).await;
    assert_eq!(
        envoy.admin("/ready").await.status.as_u16(),
        200,
        "the drain script does not stop Envoy"
    );
}

#[tokio::test]
async fn drain_script_succeeds_without_an_envoy() {
    let empty = tempfile::TempDir::new().unwrap();
    assert_succeeds(start_drain(empty.path())).await;
}

#[test]
fn systemd_and_kubernetes_drain_scripts_are_identical() {
    let systemd_script: String = text("systemd/drain.sh")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(systemd_script, drain_script());
}

#[test]
fn outer_stop_timeouts_exceed_inner_ones() {
    let number = |text: &str, before: &str| -> u64 {
        let (_, rest) = text.split_once(before).expect(before);
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
        digits.and_then(|digits| digits.parse().ok()).expect(before)
    };
    let script = drain_script();
    let streams = number(&script, "sleep \"${1:-") + number(&script, "seq ");
    let help = output(std::process::Command::new(sidecar_binary()).arg("--help"))
        .expect("`sidecar --help` succeeds");
    let default_of =
        |variable: &str| number(help.split_once(variable).expect(variable).1, "[default: ");
    let turns = default_of("PROXY_DRAIN_MS").div_ceil(1000);
    assert!(
        streams >= default_of("PROXY_TIMEOUT_MS").div_ceil(1000),
        "the drain script waits at least as long as the longest turn"
    );

    let grace = pod()["terminationGracePeriodSeconds"].as_u64();
    assert!(grace > Some(streams + turns + CHILD_STOP_SECONDS));
    let stop = |unit: &str| number(&text(&format!("systemd/{unit}")), "TimeoutStopSec=");
    assert!(stop("codex-edge-envoy.service") > streams);
    assert!(stop("codex-edge-sidecar.service") >= turns + CHILD_STOP_SECONDS);
}

#[tokio::test]
async fn login_script_stores_the_api_key_and_keeps_an_existing_login() {
    let script = script(&container("login")["command"]);
    let dir = tempfile::TempDir::new().unwrap();
    let codex = Tools::open()
        .executable(Tool::Codex)
        .expect("Codex was fetched: `cargo xtask fetch`");
    let path = format!("{}:/usr/bin:/bin", codex.parent().unwrap().display());
    let home = dir.path().join("home");
    let login = async |key: &str| {
        let mut login = sh(&script);
        login.env_clear().env("PATH", &path).env("HOME", dir.path());
        login.env("CODEX_HOME", &home).env("OPENAI_API_KEY", key);
        let status = timeout(DEADLINE, login.status())
            .await
            .expect("the login script ends")
            .expect("sh is installed");
        assert!(status.success(), "{status}");
    };
    login("").await;
    assert!(home.is_dir() && !home.join("auth.json").exists());
    login("sk-of-the-test").await;
    let file = home.join("auth.json");
    let auth = std::fs::read_to_string(&file).expect("Codex is logged in");
    assert!(auth.contains("sk-of-the-test"), "{auth}");
    let mode = file.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "only the owner can read the file");
    login("").await;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), auth);
}
