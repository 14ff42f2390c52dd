//! The children: how many, how they are replaced, and what a bad one can do.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tempfile::TempDir;
use tests::scripted_model::ScriptedModel;
use tests::sidecar::{Sidecar, SidecarOptions, is_running, wait_until_gone};
use xtask::command::write_program;
use xtask::tools::{Tool, Tools};

use crate::stack::{SOON, ask, start_with, stream};

#[tokio::test]
async fn a_worn_out_child_is_replaced_and_no_turn_is_cut() {
    let worn = |options: SidecarOptions| {
        options
            .env("CODEX_WORKER_MAX_TURNS", "3")
            .env("PROXY_SSE_MAX_CONCURRENCY", "0")
    };
    let (model, sidecar) = start_with(worn).await;
    let first = sidecar.children();
    let held = json!([{"text": "old", "open": true}, {"hold": "end"}, {"text": "est"}]);
    let mut oldest = stream(&sidecar, held).await;
    oldest.next_json().await;
    for turn in 0..10 {
        let answer = ask(&sidecar, json!({"text": "Hi."}), json!({})).await;
        assert_eq!(answer.status, 200, "turn {turn}: {answer:?}");
        tokio::time::sleep(Duration::from_millis(300)).await; // Wear is looked at once a second.
    }
    assert!(sidecar.children().contains(&first[0]), "it has a turn yet");
    assert!(sidecar.children().len() >= 2, "its successor serves");
    model.release("end");
    assert_eq!(oldest.rest().await.unwrap().last().unwrap(), "data: [DONE]");
    wait_until_gone(&first).await;
    wait_for_children(&sidecar, 1).await;
    let removed = async {
        while databases(&sidecar) != 1 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let removed = tokio::time::timeout(SOON, removed).await;
    assert!(removed.is_ok(), "databases of children that ended are left");
}

#[tokio::test]
async fn the_death_of_a_worker_fails_its_own_turns_only() {
    let two = |options: SidecarOptions| {
        options
            .env("CODEX_WORKERS", "2")
            .env("PROXY_SSE_MAX_CONCURRENCY", "0")
    };
    let (model, mut sidecar) = start_with(two).await;
    wait_for_children(&sidecar, 2).await;
    // Both must have finished their handshake before they share the turns.
    while sidecar.log().matches("codex_app_server").count() < 2 {
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
            .expect("every stream ends well, whatever it says");
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

#[tokio::test]
async fn what_a_killed_predecessor_left_is_ended_at_the_start() {
    let mut leftover = Command::new("sleep");
    leftover.arg("600").env("CODEX_EDGE_OWNER", "1-1");
    let mut leftover = leftover.spawn().unwrap();
    let pid = i32::try_from(leftover.id()).unwrap();
    let (_model, _sidecar) = start_with(|options| options).await;
    let ended = async {
        while is_running(pid) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, ended)
        .await
        .expect("it is ended");
    leftover.wait().unwrap();
}

/// A Codex of which one command is a script that does `fault`; `"$REAL" "$@"` is the real one.
pub(crate) struct Faulty {
    _dir: TempDir,
    binary: PathBuf,
}

impl Faulty {
    pub(crate) fn new(fault: &str) -> Self {
        Self::new_for("app-server", fault)
    }

    pub(crate) fn new_for(command: &str, fault: &str) -> Self {
        let dir = TempDir::new().expect("the folder is ours");
        let binary = dir.path().join("codex");
        let real = Tools::open()
            .executable(Tool::Codex)
            .expect("Codex was fetched: `cargo xtask fetch`");
        let real = real.display();
        let script = format!(
            "#!/bin/bash\nREAL={real}\n[ \"$1\" = {command} ] || exec \"$REAL\" \"$@\"\n{fault}"
        );
        write_program(&binary, &script).expect("the folder is ours");
        Self { _dir: dir, binary }
    }

    pub(crate) fn options(&self, model: &ScriptedModel) -> SidecarOptions {
        SidecarOptions::new(model).env("CODEX_BIN", &self.binary.to_string_lossy())
    }
}

#[tokio::test]
async fn a_child_that_is_odd_but_works_serves_all_the_same() {
    for fault in [
        "yes flood >&2 & exec \"$REAL\" \"$@\"",
        "printf '{\"method\":\"odd/news\",\"params\":{\"x\":\"%s\"}}\\n' \"$(head -c 10000000 /dev/zero | tr '\\0' x)\"; exec \"$REAL\" \"$@\"",
        "trap '' TERM; \"$REAL\" \"$@\"; sleep 600 & wait; sleep 600",
    ] {
        let model = ScriptedModel::start().await.unwrap();
        let faulty = Faulty::new(fault);
        let mut sidecar = faulty.options(&model).start().await;
        let answer = ask(&sidecar, json!({"text": "Hi."}), json!({})).await;
        assert_eq!(answer.status, 200, "{fault}: {answer:?}");
        let group = group_of(sidecar.children()[0]);
        assert!(!group.is_empty());
        sidecar.signal(Signal::SIGTERM);
        assert_eq!(sidecar.wait().await, Some(0), "{fault}: {}", sidecar.log());
        wait_until_gone(&group).await;
    }
}

#[tokio::test]
async fn a_child_that_does_not_work_is_replaced_and_readiness_tells_the_truth() {
    for fault in [
        "exit 3",
        "echo 'not a message'; exec sleep 600",
        "exec sleep 600 >&-",
        "printf '{\"id\":0,'; exec sleep 600 2>&- >&-",
        "printf '\\xff\\xfe\\n'; exec sleep 600",
    ] {
        let model = ScriptedModel::start().await.unwrap();
        let faulty = Faulty::new(fault);
        let mut sidecar = faulty.options(&model).spawn();
        let starting = |answer: &tests::http::BufferedResponse| {
            answer.json()["error"]["code"] == "codex_starting"
        };
        sidecar.wait_for_readiness(starting).await;
        while sidecar.log().matches("codex child ended").count() < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let refused = ask(&sidecar, json!({"text": "Hi."}), json!({})).await;
        crate::stack::assert_error(&refused, 503, "codex_starting");
        assert!(!refused.header("retry-after").is_empty());
        let children = sidecar.children();
        sidecar.signal(Signal::SIGTERM);
        assert_eq!(sidecar.wait().await, Some(0), "{fault}: {}", sidecar.log());
        wait_until_gone(&children).await;
    }
}

/// Processes of the group that `leader` leads.
pub(crate) fn group_of(leader: i32) -> Vec<i32> {
    let processes = fs::read_dir("/proc").expect("this is Linux").flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let group = |pid: i32| -> Option<i32> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(2)?.parse().ok()
    };
    pids.filter(|pid| group(*pid) == Some(leader)).collect()
}

async fn wait_for_children(sidecar: &Sidecar, count: usize) {
    let counted = async {
        while sidecar.children().len() != count {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let counted = tokio::time::timeout(SOON, counted).await;
    assert!(
        counted.is_ok(),
        "{:?} instead of {count}",
        sidecar.children()
    );
}

/// Folders with the databases of children.
fn databases(sidecar: &Sidecar) -> usize {
    let folders = fs::read_dir(sidecar.dir())
        .expect("the folder is ours")
        .flatten()
        .map(|entry| entry.path());
    let private = folders.filter(|path| path.to_string_lossy().contains("codex-edge-"));
    let inside =
        private.flat_map(|folder| fs::read_dir(folder).expect("the folder is ours").flatten());
    inside
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("child-"))
        .count()
}
