//! The children: started ahead, used once, and never left behind.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tests::http::BufferedResponse;
use tests::sidecar::{Sidecar, wait_until_gone};
use tests::sse;
use tokio::time::{sleep, timeout};

use super::{start, start_with};
use crate::stack::{SOON, ask, chat, stream};

/// Folders of children, wherever the sidecar makes some.
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

/// Everything below a folder; links are not followed.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
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

/// Waits until as many children wait as there should, and nothing of another is left.
async fn wait_until_idle(sidecar: &Sidecar, children: usize) {
    let idle = async {
        while sidecar.children().len() != children || homes(sidecar) != children {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let idle = timeout(SOON, idle).await;
    assert!(
        idle.is_ok(),
        "{:?} {:?}",
        sidecar.children(),
        files(sidecar.dir())
    );
}

#[tokio::test]
async fn a_turn_takes_a_child_that_waits_and_another_takes_its_place() {
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
        "one that waited has served: {waiting:?} {after:?}"
    );
}

#[tokio::test]
async fn many_turns_leave_no_process_no_transcript_and_no_folder() {
    const TURNS: usize = 40;
    let (model, sidecar) = start().await;
    for turn in 0..TURNS {
        let answer = ask(&sidecar, json!({"text": "Hi."}), json!({})).await;
        assert_eq!(answer.status, 200, "turn {turn}: {answer:?}");
    }
    wait_until_idle(&sidecar, 2).await;
    assert_eq!(model.requests().len(), TURNS);
    let left = files(sidecar.dir());
    let transcripts = left
        .iter()
        .filter(|path| path.extension().is_some_and(|end| end == "jsonl"));
    for transcript in transcripts {
        let text = fs::read_to_string(transcript).unwrap();
        assert!(
            !text.contains("Hi."),
            "a turn of before is in {transcript:?}"
        );
    }
    let own = files(&sidecar.dir().join("codex-home"));
    assert!(
        own.iter().all(|path| !path.ends_with("sessions")),
        "{own:?}"
    );
    assert!(left.len() < 40, "what is there does not grow: {left:?}");
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_child_and_frees_its_slot() {
    let one = |options: tests::sidecar::SidecarOptions| {
        options
            .env("PROXY_SSE_MAX_CONCURRENCY", "1")
            .env("PROXY_QUEUE_TIMEOUT_MS", "10000")
    };
    let (model, sidecar) = start_with(one).await;
    let endless = json!([{"text": "par", "open": true}, {"hold": "for ever"}, {"text": "ty"}]);
    let mut events = stream(&sidecar, endless.clone()).await;
    events.next_json().await;
    events.next_json().await;
    drop(events);
    let cut = model.wait_for_disconnects(1, Duration::from_secs(1)).await;
    cut.expect("a stream's turn is interrupted within a second");
    let mut client = sidecar.connect().await;
    let request = chat(&endless, &json!({}));
    let gathered = async { client.send(request).await };
    tokio::select! {
        answer = gathered => panic!("it never ends: {answer:?}"),
        begun = model.wait_for_requests(2, SOON) => drop(begun.expect("it has begun")),
    }
    drop(client);
    let cut = model.wait_for_disconnects(2, Duration::from_secs(1)).await;
    cut.expect("a gathered turn is interrupted within a second");
    let answer = ask(&sidecar, json!({"text": "Free."}), json!({})).await;
    assert_eq!(answer.status, 200);
    wait_until_idle(&sidecar, 1).await;
}

#[tokio::test]
async fn children_that_cannot_start_again_make_it_unready_until_they_can() {
    let (_model, mut sidecar) = start().await;
    wait_until_idle(&sidecar, 2).await;
    let config = sidecar.dir().join("codex-home/config.toml");
    let good = fs::read_to_string(&config).unwrap();
    fs::write(&config, "this is = not [TOML").unwrap();
    for pid in sidecar.children() {
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }
    let unavailable =
        |answer: &BufferedResponse| answer.json()["error"]["code"] == "codex_unavailable";
    let answer = sidecar.wait_for_readiness(unavailable).await;
    assert_eq!(answer.status, 503);
    fs::write(&config, good).unwrap();
    sidecar.wait_until_ready().await;
    let answer = ask(&sidecar, json!({"text": "Again."}), json!({})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn told_to_stop_it_ends_turns_honestly_and_leaves_nothing() {
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
async fn killed_it_takes_its_children_along() {
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
