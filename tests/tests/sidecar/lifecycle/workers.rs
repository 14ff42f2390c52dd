//! The workers: their number, their replacement, and the effect of faulty children.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::http::get;
use tests::scripted_model::ScriptedModel;
use tests::sidecar::{Sidecar, SidecarOptions, wait_until_gone};
use xtask::command::write_program;
use xtask::tools::{Tool, Tools};

use crate::stack::{SOON, ask, eventually, start_with, stream};

#[tokio::test]
async fn recycled_worker_is_replaced_without_interrupting_a_turn() {
    let (model, sidecar) = start_with(|options| {
        options
            .env("CODEX_WORKER_MAX_TURNS", "3")
            .env("PROXY_SSE_MAX_CONCURRENCY", "0")
    })
    .await;
    let first = sidecar.children();
    let held = json!([{"text": "old", "open": true}, {"hold": "end"}, {"text": "est"}]);
    let mut oldest = stream(&sidecar, held).await;
    oldest.next_json().await;
    for turn in 0..10 {
        let response = ask(&sidecar, json!({"text": "Hi."}), json!({})).await;
        assert_eq!(response.status, 200, "turn {turn}: {response:?}");
        // The sidecar compares workers with the recycle limits once a second; the ten turns must span several checks.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert!(
        sidecar.children().contains(&first[0]),
        "the first worker still has a turn"
    );
    assert!(sidecar.children().len() >= 2, "a successor is running");
    model.release("end");
    assert_eq!(oldest.rest().await.unwrap().last().unwrap(), "data: [DONE]");
    wait_until_gone(&first).await;
    wait_for_children(&sidecar, 1).await;
    let removal = async {
        while databases(&sidecar) != 1 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let removed = tokio::time::timeout(SOON, removal).await;
    assert!(
        removed.is_ok(),
        "databases of children that exited were not removed"
    );
}

#[tokio::test]
async fn worker_exit_fails_its_own_turns_only() {
    let (model, mut sidecar) = start_with(|options| {
        options
            .env("CODEX_WORKERS", "2")
            .env("PROXY_SSE_MAX_CONCURRENCY", "0")
    })
    .await;
    wait_for_children(&sidecar, 2).await;
    // Turns go only to workers that have finished the handshake, and both workers must get some.
    while status(&sidecar).await["workers"] != json!(["ready", "ready"]) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let script = json!([{"text": "par", "open": true}, {"hold": "end"}, {"text": "ty"}]);
    let mut streams = Vec::new();
    for _ in 0..8 {
        let mut events = stream(&sidecar, script.clone()).await;
        events.next_json().await;
        events.next_json().await;
        streams.push(events);
    }
    let killed = sidecar.children()[0];
    kill(Pid::from_raw(killed), Signal::SIGKILL).unwrap();
    wait_until_gone(&[killed]).await;
    let (mut failed, mut completed) = (0, 0);
    model.release("end");
    for mut events in streams {
        let rest = events
            .rest()
            .await
            .expect("every stream ends without a transport error");
        match rest.last().unwrap().as_str() {
            "data: [DONE]" => completed += 1,
            error => {
                assert!(error.contains("codex_failed"), "{error}");
                failed += 1;
            }
        }
    }
    assert!(
        failed > 0 && completed > 0,
        "{failed} failed, {completed} completed"
    );
    sidecar.wait_until_ready().await;
    wait_for_children(&sidecar, 2).await;
}

/// A Codex binary in which the script `fault` replaces one command; `"$REAL" "$@"` in `fault` runs the real command.
pub(crate) struct FaultyCodex {
    _dir: TempDir,
    binary: PathBuf,
}

impl FaultyCodex {
    /// Replaces `app-server`, the command of the workers.
    pub(crate) fn new(fault: &str) -> Self {
        Self::new_for("app-server", fault)
    }

    /// Replaces `command`.
    pub(crate) fn new_for(command: &str, fault: &str) -> Self {
        let dir = TempDir::new().expect("the test folder is writable");
        let binary = dir.path().join("codex");
        let real = Tools::open()
            .executable(Tool::Codex)
            .expect("Codex was fetched: `cargo xtask fetch`");
        let script = format!(
            "#!/bin/bash\nREAL={}\n[ \"$1\" = {command} ] || exec \"$REAL\" \"$@\"\n{fault}",
            real.display()
        );
        write_program(&binary, &script).expect("the test folder is writable");
        Self { _dir: dir, binary }
    }

    /// SidecarOptions of a sidecar that runs this binary.
    pub(crate) fn options(&self, model: &ScriptedModel) -> SidecarOptions {
        SidecarOptions::new(model).env("CODEX_BIN", &self.binary.to_string_lossy())
    }
}

#[tokio::test]
async fn children_with_harmless_faults_serve_turns() {
    for fault in [
        "yes flood >&2 & exec \"$REAL\" \"$@\"",
        "printf '{\"method\":\"odd/news\",\"params\":{\"x\":\"%s\"}}\\n' \"$(head -c 10000000 /dev/zero | tr '\\0' x)\"; exec \"$REAL\" \"$@\"",
        "trap '' TERM; \"$REAL\" \"$@\"; sleep 600 & wait; sleep 600",
    ] {
        let model = ScriptedModel::start().await.unwrap();
        let faulty = FaultyCodex::new(fault);
        let mut sidecar = faulty.options(&model).start().await;
        let response = ask(&sidecar, json!({"text": "Hi."}), json!({})).await;
        assert_eq!(response.status, 200, "{fault}: {response:?}");
        let group = group_of(sidecar.children()[0]);
        assert!(!group.is_empty());
        sidecar.signal(Signal::SIGTERM);
        assert_eq!(sidecar.wait().await, Some(0), "{fault}: {}", sidecar.log());
        wait_until_gone(&group).await;
    }
}

#[tokio::test]
async fn broken_children_are_restarted_and_readiness_stays_503() {
    for fault in [
        "exit 3",
        "echo 'not a message'; exec sleep 600",
        "exec sleep 600 >&-",
        "printf '{\"id\":0,'; exec sleep 600 2>&- >&-",
        "printf '\\xff\\xfe\\n'; exec sleep 600",
    ] {
        let model = ScriptedModel::start().await.unwrap();
        let faulty = FaultyCodex::new(fault);
        let mut sidecar = faulty.options(&model).spawn();
        let starting = |response: &tests::http::BufferedResponse| {
            response.json()["error"]["code"] == "codex_starting"
        };
        sidecar.wait_for_readiness(starting).await;
        while sidecar.log().matches("codex child ended").count() < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let rejected = ask(&sidecar, json!({"text": "Hi."}), json!({})).await;
        crate::stack::assert_error(&rejected, 503, "codex_starting");
        assert!(!rejected.header("retry-after").is_empty());
        let children = sidecar.children();
        sidecar.signal(Signal::SIGTERM);
        assert_eq!(sidecar.wait().await, Some(0), "{fault}: {}", sidecar.log());
        wait_until_gone(&children).await;
    }
}

#[tokio::test]
async fn reason_of_a_childs_end_is_one_line_without_what_a_turn_may_have_written() {
    let model = ScriptedModel::start().await.unwrap();
    let faulty = FaultyCodex::new("echo 'the disk is full' >&2; exit 3");
    let mut sidecar = faulty.options(&model).spawn();
    let line = logged_end(&sidecar, "codex child ended").await;
    assert_eq!(
        (&line["level"], &line["status"], &line["stderr"]),
        (
            &json!("ERROR"),
            &json!("exit status: 3"),
            &json!("the disk is full")
        ),
        "{line}"
    );
    sidecar.signal(Signal::SIGTERM);
    assert_eq!(sidecar.wait().await, Some(0), "{}", sidecar.log());

    let (_model, sidecar) = start_with(|options| options).await;
    ask(&sidecar, json!({"text": "Hi."}), json!({})).await;
    kill(Pid::from_raw(sidecar.children()[0]), Signal::SIGKILL).unwrap();
    let line = logged_end(&sidecar, "codex child ended").await;
    assert_eq!(line["status"], "signal: 9 (SIGKILL)", "{line}");
    assert!(line.get("stderr").is_none(), "{line}");
}

/// Waits for the line of the log that reports the end of a child by `message`.
pub(crate) async fn logged_end(sidecar: &Sidecar, message: &str) -> Value {
    let ended = || -> Option<Value> {
        let log = sidecar.log();
        let mut lines = log
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        lines.find(|line: &Value| line["message"] == message)
    };
    eventually("the end is logged", || ended().is_some()).await;
    ended().expect("the log only grows")
}

/// The processes of the process group with the leader `leader`.
pub(crate) fn group_of(leader: i32) -> Vec<i32> {
    let processes = fs::read_dir("/proc").expect("/proc is mounted").flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let group = |pid: i32| -> Option<i32> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(2)?.parse().ok()
    };
    pids.filter(|pid| group(*pid) == Some(leader)).collect()
}

async fn wait_for_children(sidecar: &Sidecar, count: usize) {
    let wait = async {
        while sidecar.children().len() != count {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let reached = tokio::time::timeout(SOON, wait).await;
    assert!(
        reached.is_ok(),
        "{:?}, expected {count} children",
        sidecar.children()
    );
}

/// The `/status` document of the admin interface.
async fn status(sidecar: &Sidecar) -> Value {
    let mut admin = sidecar.connect_admin().await;
    let response = admin.send(get("/status")).await;
    response.expect("a response arrives").json()
}

/// The number of folders with the databases of a child.
fn databases(sidecar: &Sidecar) -> usize {
    let entries = |folder: PathBuf| {
        fs::read_dir(folder)
            .expect("the test folder is readable")
            .flatten()
            .map(|entry| entry.path())
    };
    let private = entries(sidecar.dir().to_owned())
        .filter(|path| path.to_string_lossy().contains("codex-edge-"));
    let is_database = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("child-"))
    };
    private.flat_map(entries).filter(is_database).count()
}
