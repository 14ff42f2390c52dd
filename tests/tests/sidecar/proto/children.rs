//! The children of a `proto` Codex: started ahead into a pool, used for one turn, and removed with their folders.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tests::http::BufferedResponse;
use tests::sidecar::{Sidecar, wait_until_gone};
use tests::sse;
use tokio::time::{sleep, timeout};

use super::fixture::{start, start_with};
use crate::lifecycle::workers::logged_end;
use crate::stack::{SOON, ask, chat, stream};

/// The number of `CODEX_HOME` folders of children, in any folder of the sidecar.
fn homes(sidecar: &Sidecar) -> usize {
    files(sidecar.dir())
        .iter()
        .filter(|path| {
            let parent = path.parent().and_then(Path::file_name);
            let child = parent.is_some_and(|name| name.to_string_lossy().starts_with("child-"));
            child && path.ends_with("instructions.md")
        })
        .count()
}

/// Lists the files and folders below `folder` without following symbolic links.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| {
            let path = entry.path();
            let below = if path.is_dir() && !path.is_symlink() {
                files(&path)
            } else {
                Vec::new()
            };
            below.into_iter().chain([path])
        })
        .collect()
}

/// Waits until exactly `children` children and folders of children exist.
async fn wait_until_idle(sidecar: &Sidecar, children: usize) {
    let wait = async {
        while sidecar.children().len() != children || homes(sidecar) != children {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let idle = timeout(SOON, wait).await;
    assert!(
        idle.is_ok(),
        "{:?} {:?}",
        sidecar.children(),
        files(sidecar.dir())
    );
}

#[tokio::test]
async fn turn_uses_an_idle_child_and_the_pool_refills() {
    let (model, sidecar) = start().await;
    wait_until_idle(&sidecar, 2).await;
    let waiting = sidecar.children();
    let held = json!([{"text": "par", "open": true}, {"hold": "end"}, {"text": "ty"}]);
    let mut events = stream(&sidecar, held).await;
    events.next_json().await;
    events.next_json().await;
    wait_until_idle(&sidecar, 3).await;
    let during = sidecar.children();
    assert!(
        waiting.iter().all(|pid| during.contains(pid)),
        "{waiting:?} {during:?}"
    );
    model.release("end");
    assert_eq!(events.rest().await.unwrap().last().unwrap(), "data: [DONE]");
    wait_until_idle(&sidecar, 2).await;
    let after = sidecar.children();
    let gone: Vec<_> = waiting.iter().filter(|pid| !after.contains(pid)).collect();
    assert_eq!(
        gone.len(),
        1,
        "one idle child has served the turn: {waiting:?} {after:?}"
    );
}

/// Returns the files of the sidecar once new children have written theirs.
async fn settled_files(sidecar: &Sidecar) -> Vec<PathBuf> {
    let mut last = Vec::new();
    loop {
        sleep(Duration::from_secs(1)).await;
        let now = files(sidecar.dir());
        if now.len() == last.len() {
            return now;
        }
        last = now;
    }
}

#[tokio::test]
async fn many_turns_leave_no_process_transcript_or_folder() {
    const TURNS: usize = 40;
    let (model, sidecar) = start().await;
    let mut of_few_turns = 0;
    for turn in 1..=TURNS {
        let response = ask(&sidecar, json!({"text": "Hi."}), json!({})).await;
        assert_eq!(response.status, 200, "turn {turn}: {response:?}");
        if turn == TURNS / 4 {
            wait_until_idle(&sidecar, 2).await;
            of_few_turns = settled_files(&sidecar).await.len();
        }
    }
    wait_until_idle(&sidecar, 2).await;
    assert_eq!(model.requests().len(), TURNS);
    let left = settled_files(&sidecar).await;
    let transcripts = left
        .iter()
        .filter(|path| path.extension().is_some_and(|end| end == "jsonl"));
    for transcript in transcripts {
        let text = fs::read_to_string(transcript).unwrap();
        assert!(
            !text.contains("Hi."),
            "{transcript:?} has the text of a finished turn"
        );
    }
    let own = files(&sidecar.dir().join("codex-home"));
    assert!(
        own.iter().all(|path| !path.ends_with("sessions")),
        "{own:?}"
    );
    assert!(
        left.len() <= of_few_turns,
        "the number of files, {of_few_turns}, does not grow with the turns: {left:?}"
    );
}

#[tokio::test]
async fn client_disconnect_ends_the_child_and_frees_its_permit() {
    let (model, sidecar) = start_with(|options| {
        options
            .env("PROXY_SSE_MAX_CONCURRENCY", "1")
            .env("PROXY_QUEUE_TIMEOUT_MS", "10000")
    })
    .await;
    let endless = json!([{"text": "par", "open": true}, {"hold": "for ever"}, {"text": "ty"}]);
    let mut events = stream(&sidecar, endless.clone()).await;
    events.next_json().await;
    events.next_json().await;
    drop(events);
    let cut = model.wait_for_disconnects(1, Duration::from_secs(1)).await;
    cut.expect("the streamed turn is interrupted within a second");
    let mut client = sidecar.connect().await;
    let request = chat(&endless, &json!({}));
    let buffered = async { client.send(request).await };
    tokio::select! {
        response = buffered => panic!("the turn ended: {response:?}"),
        begun = model.wait_for_requests(2, SOON) => drop(begun.expect("the turn has started")),
    }
    drop(client);
    let cut = model.wait_for_disconnects(2, Duration::from_secs(1)).await;
    cut.expect("the buffered turn is interrupted within a second");
    let response = ask(&sidecar, json!({"text": "Free."}), json!({})).await;
    assert_eq!(response.status, 200);
    wait_until_idle(&sidecar, 1).await;
}

#[tokio::test]
async fn readiness_is_503_while_children_cannot_start() {
    let (_model, mut sidecar) = start().await;
    wait_until_idle(&sidecar, 2).await;
    let config = sidecar.dir().join("codex-home/config.toml");
    let good = fs::read_to_string(&config).unwrap();
    fs::write(&config, "this is = not [TOML").unwrap();
    for pid in sidecar.children() {
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }
    let unavailable =
        |response: &BufferedResponse| response.json()["error"]["code"] == "codex_unavailable";
    let response = sidecar.wait_for_readiness(unavailable).await;
    assert_eq!(response.status, 503);
    fs::write(&config, good).unwrap();
    sidecar.wait_until_ready().await;
    let response = ask(&sidecar, json!({"text": "Again."}), json!({})).await;
    assert_eq!(response.status, 200, "{response:?}");
}

#[tokio::test]
async fn reason_of_a_childs_end_is_one_line_with_its_pid() {
    let (_model, sidecar) = start_with(|options| options.env("CODEX_PROTO_POOL", "1")).await;
    wait_until_idle(&sidecar, 1).await;
    let serving = sidecar.children();
    let held = json!([{"text": "par", "open": true}, {"hold": "for ever"}, {"text": "ty"}]);
    let mut events = stream(&sidecar, held).await;
    events.next_json().await;
    kill(Pid::from_raw(serving[0]), Signal::SIGKILL).unwrap();
    let line = logged_end(&sidecar, "codex child ended during its turn").await;
    assert_eq!(
        (&line["level"], &line["status"], &line["span"]["pid"]),
        (
            &json!("ERROR"),
            &json!("signal: 9 (SIGKILL)"),
            &json!(serving[0])
        ),
        "{line}"
    );
    assert!(
        line.get("stderr").is_none(),
        "it may quote the turn: {line}"
    );
    drop(events);

    wait_until_gone(&serving).await;
    wait_until_idle(&sidecar, 1).await;
    let waiting = sidecar.children()[0];
    kill(Pid::from_raw(waiting), Signal::SIGKILL).unwrap();
    let line = logged_end(&sidecar, "codex child ended").await;
    assert_eq!(
        (&line["level"], &line["status"], &line["span"]["pid"]),
        (
            &json!("ERROR"),
            &json!("signal: 9 (SIGKILL)"),
            &json!(waiting)
        ),
        "{line}"
    );
    assert_eq!(line["restart_in"], "500ms", "{line}");
}

#[tokio::test]
async fn sigterm_aborts_running_turns_with_an_error_and_removes_child_folders() {
    let (_model, mut sidecar) = start_with(|options| options.env("PROXY_DRAIN_MS", "300")).await;
    let held = json!([{"text": "par", "open": true}, {"hold": "for ever"}, {"text": "ty"}]);
    let mut events = stream(&sidecar, held).await;
    events.next_json().await;
    events.next_json().await;
    let children = sidecar.children();
    sidecar.signal(Signal::SIGTERM);
    let rest = events.rest().await.unwrap();
    let last = sse::json(rest.last().unwrap());
    assert_eq!(last["error"]["code"], "codex_unavailable", "{rest:?}");
    drop(events);
    assert_eq!(sidecar.wait().await, Some(0), "{}", sidecar.log());
    wait_until_gone(&children).await;
    assert_eq!(homes(&sidecar), 0);
}

#[tokio::test]
async fn proto_children_die_when_the_sidecar_is_killed() {
    let (_model, mut sidecar) = start().await;
    let held = json!([{"text": "par", "open": true}, {"hold": "for ever"}, {"text": "ty"}]);
    let mut events = stream(&sidecar, held).await;
    events.next_json().await;
    events.next_json().await;
    let children = sidecar.children();
    assert!(children.len() >= 2, "{children:?}");
    sidecar.signal(Signal::SIGKILL);
    assert_eq!(sidecar.wait().await, None);
    wait_until_gone(&children).await;
}
