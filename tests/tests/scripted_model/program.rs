//! The `scripted-model` binary: its first line has its address, and SIGTERM and SIGINT end it with success.
//! `cargo xtask up` and other programs rely on both.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tests::http::{Client, Version, get, post};

use crate::{body, directive};

const PROGRAM: &str = env!("CARGO_BIN_EXE_scripted-model");

#[tokio::test]
async fn binary_prints_its_address_and_exits_with_success_on_a_signal() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut child = Command::new(PROGRAM)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let line = lines.next().expect("a first line").expect("a line of text");
        let address = line
            .strip_prefix("listening on http://")
            .and_then(|rest| rest.strip_suffix("/v1"))
            .unwrap_or_else(|| panic!("{line}"))
            .parse()
            .expect("an address");
        let mut client = Client::connect(address, Version::H1).await;
        let response = client.send(get("/v1/models")).await.expect("a response");
        assert_eq!(response.status, 200);
        let pid = i32::try_from(child.id()).expect("a pid");
        kill(Pid::from_raw(pid), signal).expect("the binary runs");
        assert!(child.wait().expect("the binary exits").success());
    }
}

#[test]
fn binary_rejects_an_address_that_is_not_loopback() {
    let output = Command::new(PROGRAM)
        .args(["--listen", "0.0.0.0:0"])
        .output()
        .expect("the binary starts");
    assert!(!output.status.success());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("not a loopback address"), "{stderr}");
}

#[tokio::test]
async fn sigterm_lets_a_running_response_end_also_on_an_address_that_is_not_loopback() {
    let mut child = Command::new(PROGRAM)
        .args(["--listen", "0.0.0.0:0", "--allow-remote"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
    let line = lines.next().expect("a first line").expect("a line of text");
    let (_, port) = line
        .strip_suffix("/v1")
        .and_then(|rest| rest.rsplit_once(':'))
        .unwrap_or_else(|| panic!("{line}"));
    let address = format!("127.0.0.1:{port}").parse().expect("an address");
    let script = json!({"text": "a b c d", "delta_chars": 2, "delay_ms": 200});
    let mut client = Client::connect(address, Version::H1).await;
    let request = post("/v1/responses", body(&directive(&script)).to_string());
    let mut response = client.stream(request).await.expect("a response");
    let first = response.next().await.expect("a chunk").expect("a stream");
    let pid = i32::try_from(child.id()).expect("a pid");
    kill(Pid::from_raw(pid), Signal::SIGTERM).expect("the binary runs");
    let rest = response.collect().await.expect("the stream is not cut");
    let events = String::from_utf8_lossy(&[&first.data[..], &rest.body[..]].concat()).into_owned();
    assert!(events.contains("response.completed"), "{events}");
    assert!(child.wait().expect("the binary exits").success());
}
