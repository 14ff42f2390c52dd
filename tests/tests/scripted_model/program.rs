//! The scripted model as a program.
//! Its first line says where it listens, a signal ends it well: what those who start it rely on.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::http::{Client, Version, get};

const PROGRAM: &str = env!("CARGO_BIN_EXE_scripted-model");

#[tokio::test]
async fn it_says_where_it_listens_and_ends_on_a_signal() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut child = Command::new(PROGRAM)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("is piped")).lines();
        let line = lines.next().expect("a first line").expect("is text");
        let address = line
            .strip_prefix("listening on http://")
            .and_then(|rest| rest.strip_suffix("/v1"))
            .unwrap_or_else(|| panic!("{line}"));
        let address = address.parse().expect("is an address");
        let mut client = Client::connect(address, Version::H1).await;
        let answer = client.send(get("/v1/models")).await.expect("an answer");
        assert_eq!(answer.status, 200);
        let pid = i32::try_from(child.id()).expect("a pid");
        kill(Pid::from_raw(pid), signal).expect("it lives");
        assert!(child.wait().expect("it ends").success());
    }
}

#[test]
fn it_listens_on_loopback_only() {
    let output = Command::new(PROGRAM)
        .args(["--listen", "0.0.0.0:0"])
        .output()
        .expect("it starts");
    assert!(!output.status.success());
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("not a loopback address"), "{told}");
}
