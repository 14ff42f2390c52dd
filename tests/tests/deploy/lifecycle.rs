//! The scripts that Kubernetes and systemd run around a life of the stack, run here: the drain of a real Envoy, and
//! the login of a real Codex. And the times that have to be longer than one another.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tests::envoy::{Envoy, Options};
use tests::http::{DEADLINE, Version, get};
use tests::sidecar::sidecar_binary;
use tests::upstream::{Script, Upstream};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use xtask::command::output;
use xtask::tools::{Tool, Tools};

use crate::files::text;
use crate::kubernetes::{container, pod};

/// Longest that a worker's stop takes after the drain, in seconds: its grace and some to spare.
const CHILD_STOP: u64 = 10;

/// The script of a command that a shell is given.
fn script(command: &Value) -> String {
    let shell = (&command[0], &command[1]);
    assert_eq!(shell, (&"/bin/sh".into(), &"-c".into()));
    command[2].as_str().expect("it is a script").to_owned()
}

fn drain() -> String {
    script(&container("sidecar")["lifecycle"]["preStop"]["exec"]["command"])
}

fn sh(script: &str) -> Command {
    let mut sh = Command::new("sh");
    sh.args(["-c", script]);
    sh.stdin(Stdio::null()).stdout(Stdio::null());
    sh.stderr(Stdio::null()).kill_on_drop(true);
    sh
}

/// Starts the drain of `envoy`, with the moment that a Service needs left out.
fn start_drain(envoy: &Path) -> Child {
    let admin = envoy.join("envoy-admin.sock");
    let script = drain()
        .replace(
            "/run/codex-edge/envoy-admin.sock",
            &admin.display().to_string(),
        )
        .replace("sleep 5", "sleep 0");
    sh(&script).spawn().expect("sh is there")
}

async fn ended(mut drain: Child) {
    let status = timeout(DEADLINE, drain.wait()).await;
    let status = status.expect("the drain ends").expect("it is ours");
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn drain_script_waits_for_running_streams() {
    let upstream = Upstream::start(Script::Events {
        count: 8,
        every: Duration::from_millis(500),
    });
    let options = Options::new(upstream.socket()).filter("auth", "none".into());
    let envoy = Envoy::start(options).await;
    let mut client = envoy.connect(Version::H1).await;
    let mut stream = client
        .stream(get("/v1/usage"))
        .await
        .expect("Envoy answers");
    stream.next().await.unwrap().expect("the stream has begun");
    let mut drain = start_drain(envoy.dir());
    let mut events = 1;
    while let Some(piece) = stream.next().await.expect("nothing cuts it") {
        events += String::from_utf8_lossy(&piece.data)
            .matches("data: ")
            .count();
        if events < 8 {
            assert_eq!(drain.try_wait().unwrap(), None, "it does not wait");
        }
    }
    assert_eq!(events, 8);
    ended(drain).await;
    assert_eq!(
        envoy.admin("/ready").await.status.as_u16(),
        200,
        "Envoy itself lives on"
    );
}

#[tokio::test]
async fn drain_script_succeeds_without_an_envoy() {
    let nowhere = tempfile::TempDir::new().unwrap();
    ended(start_drain(nowhere.path())).await;
}

#[test]
fn systemd_and_kubernetes_drain_scripts_are_identical() {
    let theirs = text("systemd/drain.sh");
    let lines = theirs.lines().filter(|line| !line.starts_with('#'));
    let theirs: String = lines.map(|line| format!("{line}\n")).collect();
    assert_eq!(theirs, drain());
}

#[test]
fn outer_stop_timeouts_exceed_inner_ones() {
    let number = |text: &str, before: &str| -> u64 {
        let (_, rest) = text.split_once(before).expect(before);
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
        digits.and_then(|digits| digits.parse().ok()).expect(before)
    };
    let script = drain();
    let streams = number(&script, "sleep ") + number(&script, "seq ");
    let help = output(std::process::Command::new(sidecar_binary()).arg("--help"));
    let help = help.expect("the sidecar helps");
    let after = |variable: &str| number(help.split_once(variable).expect(variable).1, "[default: ");
    let turns = after("PROXY_DRAIN_MS").div_ceil(1000);
    assert!(
        streams >= after("PROXY_TIMEOUT_MS").div_ceil(1000),
        "the longest turn"
    );

    let grace = pod()["terminationGracePeriodSeconds"].as_u64();
    assert!(grace > Some(streams + turns + CHILD_STOP));
    let stop = |unit: &str| number(&text(&format!("systemd/{unit}")), "TimeoutStopSec=");
    assert!(stop("codex-edge-envoy.service") > streams);
    assert!(stop("codex-edge-sidecar.service") >= turns + CHILD_STOP);
}

#[tokio::test]
async fn login_script_stores_the_api_key_and_keeps_an_existing_login() {
    let script = script(&container("login")["command"]);
    let dir = tempfile::TempDir::new().unwrap();
    let codex = Tools::open().executable(Tool::Codex);
    let codex = codex.expect("Codex was fetched: `cargo xtask fetch`");
    let path = format!("{}:/usr/bin:/bin", codex.parent().unwrap().display());
    let home = dir.path().join("home");
    let login = async |key: &str| {
        let mut login = sh(&script);
        login.env_clear().env("PATH", &path).env("HOME", dir.path());
        login.env("CODEX_HOME", &home).env("OPENAI_API_KEY", key);
        let status = timeout(DEADLINE, login.status()).await;
        assert!(status.expect("it ends").expect("sh is there").success());
    };
    login("").await;
    assert!(home.is_dir() && !home.join("auth.json").exists());
    login("sk-of-the-test").await;
    let file = home.join("auth.json");
    let auth = std::fs::read_to_string(&file).expect("Codex is logged in");
    assert!(auth.contains("sk-of-the-test"), "{auth}");
    let mode = file.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "nobody else reads it");
    login("").await;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), auth);
}
