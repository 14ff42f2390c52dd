//! `cargo xtask up --demo` as its user runs it: start, the printed curl line, stop, and cleanup.

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use tests::sidecar::wait_until_gone;
use tests::up::{BUILD_DEADLINE, UpProcess, adjacent_ports, up_command};
use tokio::process::Command;
use tokio::time::timeout;
use xtask::command::write_program;
use xtask::tools::{Tool, Tools};
use xtask::workspace;

/// The command of `up` on `port`.
fn demo(port: u16, temp: &Path) -> Command {
    let mut command = up_command(env!("CARGO"), &["xtask"], port, temp);
    command.current_dir(workspace::root());
    command
}

#[tokio::test]
async fn up_serves_stops_and_starts_again() {
    let temp = tempfile::TempDir::new().unwrap();
    let port = adjacent_ports();

    let up = UpProcess::start(demo(port, temp.path()), temp.path()).await;
    up.assert_answers().await;
    let all = up.descendants();
    assert!(
        all.len() >= 5,
        "cargo or xtask, model, sidecar, Codex, Envoy: {all:?}"
    );
    up.assert_stops_after(Signal::SIGTERM).await;

    let up = UpProcess::start(demo(port, temp.path()), temp.path()).await;
    let all = up.descendants();
    let sidecar = all
        .iter()
        .copied()
        .find(|pid| is_sidecar(*pid))
        .expect("a sidecar is running");
    let status = up.exit_after(Signal::SIGKILL, sidecar).await;
    assert_eq!(status.code(), Some(1), "`up` fails when a service exits");
    wait_until_gone(&all).await;

    let up = UpProcess::start(demo(port, temp.path()), temp.path()).await;
    assert!(up.response().await.contains("[DONE]"));
    up.assert_stops_after(Signal::SIGINT).await;
}

#[tokio::test]
async fn second_up_serves_on_the_next_port() {
    let temp = tempfile::TempDir::new().unwrap();
    let port = adjacent_ports();
    let temps = [temp.path().join("1"), temp.path().join("2")];
    for temp in &temps {
        std::fs::create_dir(temp).unwrap();
    }
    let first = UpProcess::start(demo(port, &temps[0]), &temps[0]).await;
    let second = UpProcess::start(demo(port + 1, &temps[1]), &temps[1]).await;
    for up in [&first, &second] {
        let response = up.response().await;
        assert!(response.contains("[DONE]"), "{response}");
        let page = up.status_page().await;
        assert!(page.contains("<h1>codex-edge</h1>"), "{page}");
    }
    for up in [second, first] {
        let pid = up.pid();
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
    let mut command = demo(port, temp.path());
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

fn is_sidecar(pid: i32) -> bool {
    let exe = std::fs::read_link(format!("/proc/{pid}/exe"));
    exe.is_ok_and(|exe| exe.ends_with("release/sidecar"))
}
