//! The installed wheel, as its user runs it.

use std::path::PathBuf;
use std::process::Output;

use nix::sys::signal::Signal;
use tests::sidecar::wait_until_gone;
use tests::up::{UpProcess, adjacent_ports};

use crate::release::Release;
use crate::stack::{User, runs_from};

impl Release {
    /// The folder of the installed packages.
    pub(crate) fn site_packages(&self) -> PathBuf {
        let lib = self.environment().join("lib");
        let mut entries = std::fs::read_dir(lib).expect("the wheel is installed");
        let python = entries.next().expect("one Python");
        let python_lib = python.expect("the folder is readable").path();
        python_lib.join("site-packages")
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

async fn run(user: &User, arguments: &[&str]) -> Output {
    user.command(arguments)
        .output()
        .await
        .expect("the wheel is installed")
}

#[tokio::test]
async fn first_answer_streams_and_sigterm_leaves_nothing() {
    let user = User::new();
    let up = UpProcess::start(user.up(adjacent_ports()), &user.temp()).await;
    up.assert_answers().await;
    let (all, own) = (up.descendants(), up.pid());
    let site = Release::get().site_packages();
    let installed = all.iter().filter(|pid| runs_from(**pid, &site)).count();
    assert_eq!(
        installed, 4,
        "codex-edge, model, sidecar and Envoy are the installed ones"
    );
    assert!(runs_from(own, &site), "the command is the program itself");
    up.assert_stops_after(Signal::SIGTERM).await;
    assert_eq!(user.home_files(), Vec::<String>::new());
}

/// As after `codex-edge up 2>&1 | head`, whose reader is gone after a few lines.
#[tokio::test]
async fn stack_without_a_reader_of_stderr_answers_and_stops() {
    let user = User::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = user.up(adjacent_ports());
    command.stderr(writer);
    let up = UpProcess::start(command, &user.temp()).await;
    assert!(up.response().await.contains("[DONE]"));
    up.assert_stops_after(Signal::SIGTERM).await;
}

/// Two users of one machine share the temporary folder.
#[tokio::test]
async fn killed_stack_leaves_the_other_one_alone_and_starts_again() {
    let (stays, killed) = (User::new(), User::new());
    let port = adjacent_ports();
    let start = async |user: &User, port| {
        let mut command = user.up(port);
        command.env("TMPDIR", stays.temp());
        UpProcess::start(command, &stays.temp()).await
    };
    let other = start(&stays, port).await;
    for _ in 0..2 {
        let up = start(&killed, port + 1).await;
        assert!(up.response().await.contains("[DONE]"));
        let (all, own) = (up.descendants(), up.pid());
        up.end_after(Signal::SIGKILL, own).await;
        wait_until_gone(&all).await;
        let response = other.response().await;
        assert!(response.contains("[DONE]"), "{response}");
    }
    let own = other.pid();
    assert!(other.end_after(Signal::SIGTERM, own).await.success());
}

#[tokio::test]
async fn missing_codex_is_reported_with_the_command_that_installs_it() {
    let user = User::without_codex();
    let install = "codex is not in PATH: install it with `npm install -g @openai/codex`, or name it in CODEX_BIN";
    for mode in [&["up", "--demo"][..], &["up"]] {
        let output = run(
            &user,
            &[mode, &["--port", &adjacent_ports().to_string()]].concat(),
        )
        .await;
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(text(&output.stderr), format!("error: {install}\n"));
    }
    let port = adjacent_ports().to_string();
    let output = run(&user, &["check", "--demo", "--port", &port]).await;
    let report = text(&output.stdout);
    assert!(
        report.contains(&format!("fail  codex        {install}\n")),
        "{report}"
    );
    assert_eq!(output.status.code(), Some(1), "{report}");
}

#[tokio::test]
async fn check_reports_the_parts_of_a_stack_and_leaves_nothing() {
    let user = User::new();
    let port = adjacent_ports().to_string();
    let output = run(&user, &["check", "--demo", "--port", &port]).await;
    let report = text(&output.stdout);
    for line in [
        &format!("ok    address      127.0.0.1:{port} is free\n")[..],
        "ok    key          PROXY_API_KEY is not set: `up` makes and prints a new key at each start\n",
        "ok    mode         demo: ",
        "ok    envoy.yaml   Envoy accepts it\n",
        "ok    filter.yaml  Envoy accepts it\n",
        "the sidecar would start (failures: 0",
    ] {
        assert!(report.contains(line), "{line}: {report}");
    }
    assert!(output.status.success(), "{report}");
    assert_eq!(std::fs::read_dir(user.temp()).unwrap().count(), 0);
}

#[tokio::test]
async fn check_without_a_login_names_the_command_that_logs_in() {
    let user = User::new();
    let port = adjacent_ports().to_string();
    let output = run(&user, &["check", "--port", &port]).await;
    let (report, hint) = (text(&output.stdout), text(&output.stderr));
    assert!(hint.contains("/home/.codex-edge "), "{hint}");
    assert!(hint.contains("codex login\n"), "{hint}");
    assert!(report.contains("ok    mode         demo: "), "{report}");
    assert_eq!(user.home_files(), Vec::<String>::new());
}

#[tokio::test]
async fn made_key_is_printed_with_its_hash_and_its_line() {
    let output = run(&User::without_codex(), &["key", "--id", "ann"]).await;
    let printed = text(&output.stdout);
    let lines: Vec<_> = printed.lines().collect();
    let key = lines[0].strip_prefix("key     ").expect("the key");
    let sha256 = lines[1].strip_prefix("sha256  ").expect("the hash");
    assert!(
        key.starts_with("sk-codex-edge-") && sha256.len() == 64,
        "{printed}"
    );
    let entry = format!(r#"{{"id":"ann","sha256":"{sha256}"}}"#);
    assert!(printed.contains(&entry), "{printed}");
}
