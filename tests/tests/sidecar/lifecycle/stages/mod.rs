//! The end of a sidecar, and of its clients, at every stage of a turn: each hears the truth, and nothing is left.
//! What is counted afterwards: processes, files, slots, and answers that still run at the model.

mod scene;

use nix::sys::signal::Signal;
use serde_json::json;
use tests::processes::{descendants, marked_processes};
use tests::scripted_model::{Delivery, ScriptedModel};
use tests::sidecar::wait_until_gone;
use tests::sse;
use tokio::time::timeout;

use crate::stack::{SOON, ask, eventually};
use scene::{Codex, Pending, Scene, Stage};

/// Every stage of either Codex; the older one has neither agents nor children that are worn out.
fn cases() -> impl Iterator<Item = (Codex, Stage)> {
    let both = [
        Stage::Idle,
        Stage::Queued,
        Stage::Asked,
        Stage::Text,
        Stage::Reasoning,
        Stage::Draining,
    ];
    let only_current = [Stage::Handshake, Stage::Command, Stage::Recycling];
    let current = both.into_iter().chain(only_current);
    let current = current.map(|stage| (Codex::AppServer, stage));
    current.chain(both.map(|stage| (Codex::Proto, stage)))
}

/// The code of the error that a client hears last, which comes in time and is never an end of the answer.
async fn last_words(client: Pending) -> hyper::Result<String> {
    let error = async {
        match client {
            Pending::Stream(mut events) => {
                let mut last = String::new();
                while let Some(event) = events.next().await? {
                    let is_end = event.contains("[DONE]") || event.contains("\"finish_reason\":\"");
                    assert!(!is_end, "a turn that was cut looks whole: {event}");
                    last = event;
                }
                Ok(sse::json(&last))
            }
            Pending::Gathered(answer) => answer.await.map(|answer| answer.json()),
        }
    };
    let error = timeout(SOON, error).await.expect("it hears in time")?;
    let code = error["error"]["code"].as_str();
    Ok(code.unwrap_or_default().to_owned())
}

/// Nothing of a sidecar that has ended is left: no process, no file, no answer at the model.
async fn assert_nothing_is_left(scene: &Scene, processes: &[i32], case: &str) {
    wait_until_gone(processes).await;
    let dir = scene.sidecar.dir();
    let gone = || marked_processes(dir).is_empty() && running(&scene.model) == 0;
    eventually(&format!("{case}: neither process nor answer is left"), gone).await;
    let remains = scene.sidecar.leftover_files();
    assert!(remains.is_empty(), "{case}: {remains:?}");
}

fn running(model: &ScriptedModel) -> usize {
    let requests = model.requests().into_iter();
    requests
        .filter(|request| request.delivery == Delivery::Running)
        .count()
}

#[tokio::test]
async fn told_to_stop_at_any_stage_it_tells_its_clients_and_leaves_nothing() {
    for (codex, stage) in cases() {
        let case = format!("{codex:?} {stage:?}");
        let mut scene = Scene::reach(stage, codex).await;
        let processes = descendants(scene.sidecar.pid());
        assert!(!processes.is_empty(), "{case}");
        scene.sidecar.signal(Signal::SIGTERM);
        for client in std::mem::take(&mut scene.clients) {
            let code = last_words(client).await;
            let code = code.unwrap_or_else(|error| panic!("{case}: {error}"));
            assert_eq!(code, "codex_unavailable", "{case}");
        }
        assert_eq!(scene.sidecar.wait().await, Some(0), "{case}");
        assert_nothing_is_left(&scene, &processes, &case).await;
    }
}

#[tokio::test]
async fn killed_at_any_stage_it_takes_its_children_along_and_its_successor_the_rest() {
    // A successor comes no further than the handshake did.
    for (codex, stage) in cases().filter(|(_, stage)| *stage != Stage::Handshake) {
        let case = format!("{codex:?} {stage:?}");
        let mut scene = Scene::reach(stage, codex).await;
        let processes = descendants(scene.sidecar.pid());
        assert!(!processes.is_empty(), "{case}");
        scene.sidecar.signal(Signal::SIGKILL);
        for client in std::mem::take(&mut scene.clients) {
            let words = last_words(client).await;
            assert!(words.is_err(), "{case}: {words:?}");
        }
        assert_eq!(scene.sidecar.wait().await, None, "{case}");
        wait_until_gone(&processes).await;
        scene.sidecar.restart();
        scene.sidecar.wait_until_ready().await;
        let remains = scene.sidecar.leftover_files();
        assert_eq!(
            remains.len(),
            3,
            "{case}: {remains:?}, not two sockets and a folder"
        );
        let answer = ask(&scene.sidecar, json!({"text": "Again."}), json!({})).await;
        assert_eq!(answer.status, 200, "{case}: {answer:?}");
        scene.sidecar.signal(Signal::SIGTERM);
        assert_eq!(scene.sidecar.wait().await, Some(0), "{case}");
        assert_nothing_is_left(&scene, &[], &case).await;
    }
}

#[tokio::test]
async fn killed_before_the_handshake_it_takes_its_child_along() {
    let mut scene = Scene::reach(Stage::Handshake, Codex::AppServer).await;
    let processes = descendants(scene.sidecar.pid());
    assert!(!processes.is_empty());
    scene.sidecar.signal(Signal::SIGKILL);
    assert_eq!(scene.sidecar.wait().await, None);
    wait_until_gone(&processes).await;
}

#[tokio::test]
async fn clients_that_leave_at_any_stage_free_their_slot() {
    let has_slot = |stage| !matches!(stage, Stage::Handshake | Stage::Idle | Stage::Draining);
    for (codex, stage) in cases().filter(|(_, stage)| has_slot(*stage)) {
        let case = format!("{codex:?} {stage:?}");
        let mut scene = Scene::reach(stage, codex).await;
        while scene.clients.pop().is_some() {} // Whoever waits for the slot leaves first.
        let idle = || running(&scene.model) == 0 && !scene.has_below("600");
        eventually(&format!("{case}: neither answer nor command runs"), idle).await;
        let answer = ask(&scene.sidecar, json!({"text": "Free."}), json!({})).await;
        assert_eq!(answer.status, 200, "{case}: {answer:?}");
        scene.sidecar.signal(Signal::SIGTERM);
        assert_eq!(scene.sidecar.wait().await, Some(0), "{case}");
        assert_nothing_is_left(&scene, &[], &case).await;
    }
}

#[tokio::test]
async fn a_drain_is_over_when_its_last_client_has_left() {
    let mut scene = Scene::reach(Stage::Draining, Codex::AppServer).await;
    let processes = descendants(scene.sidecar.pid());
    scene.clients.clear();
    assert_eq!(scene.sidecar.wait().await, Some(0));
    assert_nothing_is_left(&scene, &processes, "Draining").await;
}
