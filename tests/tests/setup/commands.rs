//! `cargo xtask up`, then the set-up of `cargo xtask test`: another user than root is told the one command that helps, and root's
//! run installs everything.

use std::fs;
use std::process::Output;

use nix::sys::signal::Signal;
use tests::sidecar::wait_until_gone;
use tests::up::{UpProcess, adjacent_ports};
use xtask::build;
use xtask::command::{cargo, run};
use xtask::workspace;

use crate::debian::NewDebian;

/// Debian's user without rights.
const NOBODY: [&str; 4] = [
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
];

#[tokio::test]
async fn up_and_the_set_up_of_the_tests_need_rust_python_and_node() {
    build_programs();
    let debian = NewDebian::new();
    up_answers(&debian).await;
    let refused = refused_to_nobody(&debian);
    installed_by_root(&debian, &refused);
}

/// Builds what the commands run in the Debian, which has no linker yet.
fn build_programs() {
    run(&mut cargo(&["build", "--package", "xtask"])).expect("xtask compiles");
    build::filter().expect("the filter compiles");
    build::sidecar().expect("the sidecar compiles");
    build::scripted_model().expect("the scripted model compiles");
}

async fn up_answers(debian: &NewDebian) {
    let port = format!("PORT={}", adjacent_ports());
    // Not `/tmp` itself, in which Codex leaves a folder of its daemon whatever `TMPDIR` says.
    let temp = debian.root().join("tmp/up");
    fs::create_dir(&temp).expect("root owns the folder");
    let up = [
        "env",
        "TMPDIR=/tmp/up",
        &port,
        "cargo",
        "xtask",
        "up",
        "--demo",
    ];
    let up = UpProcess::start(piped(debian.command(&up)), &temp).await;
    up.assert_answers().await;
    let all = up.descendants();
    let is_xtask = |pid: &&i32| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "xtask")
    };
    let xtask = all.iter().find(is_xtask).expect("cargo runs xtask");
    let status = up.exit_after(Signal::SIGTERM, *xtask).await;
    assert!(status.success(), "{status}");
    wait_until_gone(&all).await;
}

fn piped(mut command: std::process::Command) -> tokio::process::Command {
    command.stdout(std::process::Stdio::piped());
    command.into()
}

/// Returns what the set-up printed.
fn refused_to_nobody(debian: &NewDebian) -> String {
    // A folder that this user can read: the workspace may be in another user's home.
    let xtask = debian.root().join("usr/local/bin/xtask");
    fs::copy(workspace::target_dir().join("debug/xtask"), xtask).expect("xtask was built");
    let output = output_of(
        debian,
        &[&NOBODY[..], &["xtask", "test", "--setup-only"]].concat(),
    );
    let printed = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{printed}");
    for line in [
        "missing: `cc --version`\n",
        "missing: `nginx -v` (part nginx)\n",
        "missing: `chromium --version` (part browser)\n",
        "\nerror: run `cargo xtask test --install --without compose,setup` (sudo asks for `apt-get install gcc libc6-dev ",
    ] {
        assert!(printed.contains(line), "{line}: {printed}");
    }
    printed
}

fn installed_by_root(debian: &NewDebian, refused: &str) {
    let script = "cargo xtask test --setup-only && echo running: && cat /proc/[0-9]*/comm";
    let output = output_of(debian, &["sh", "-c", script]);
    let (running, printed) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{running}{printed}");
    for line in refused.lines().filter(|line| line.starts_with("missing: ")) {
        assert!(printed.contains(line), "{line}: {printed}");
    }
    assert!(
        printed.contains("missing: `dockerd --version` (part compose)\n"),
        "{printed}"
    );
    assert!(
        printed.ends_with("every program that the tests need is installed\n"),
        "{printed}"
    );
    let (_, running) = running
        .split_once("running:\n")
        .expect("the shell lists the processes");
    assert_eq!(running, "sh\n", "no service was started");
    let again = output_of(debian, &["cargo", "xtask", "test", "--setup-only"]);
    let printed = text(&again.stderr);
    assert!(!printed.contains("missing: "), "{printed}");
}

fn output_of(debian: &NewDebian, arguments: &[&str]) -> Output {
    let output = debian.command(arguments).output();
    output.expect("unshare is installed")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
