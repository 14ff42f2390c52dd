//! The end of the sidecar, and disconnects of its clients, at every stage of a turn.
//! Afterwards the tests count processes, files, permits, and requests that still run at the model.

use nix::sys::signal::Signal;
use serde_json::json;
use tests::processes::{descendants, marked_processes};
use tests::scripted_model::{Delivery, ScriptedModel};
use tests::sidecar::wait_until_gone;
use tests::sse;
use tokio::time::timeout;

use super::fixture::{CodexProtocol, PendingResponse, TurnFixture, TurnStage};
use crate::stack::{SOON, ask, eventually};

/// Every stage under each protocol. A `proto` Codex has neither agent commands nor recycled workers.
fn cases() -> impl Iterator<Item = (CodexProtocol, TurnStage)> {
    let both = [
        TurnStage::Idle,
        TurnStage::Queued,
        TurnStage::Requested,
        TurnStage::Text,
        TurnStage::Reasoning,
        TurnStage::Draining,
    ];
    let app_server_only = [
        TurnStage::Handshake,
        TurnStage::Command,
        TurnStage::Recycling,
    ];
    let app_server = both
        .into_iter()
        .chain(app_server_only)
        .map(|stage| (CodexProtocol::AppServer, stage));
    app_server.chain(both.map(|stage| (CodexProtocol::Proto, stage)))
}

/// Reads a response to its end and returns its error code, or the transport error.
/// Asserts that the end comes in time, and that a stream has neither a finish reason nor `[DONE]`.
async fn final_error_code(client: PendingResponse) -> hyper::Result<String> {
    let end = async {
        match client {
            PendingResponse::Streamed(mut events) => {
                let mut last = String::new();
                while let Some(event) = events.next().await? {
                    let is_end = event.contains("[DONE]") || event.contains("\"finish_reason\":\"");
                    assert!(!is_end, "an interrupted turn looks complete: {event}");
                    last = event;
                }
                Ok(sse::json(&last))
            }
            PendingResponse::Buffered(response) => response.await.map(|response| response.json()),
        }
    };
    let body = timeout(SOON, end)
        .await
        .expect("the response ends in time")?;
    let code = body["error"]["code"].as_str();
    Ok(code.unwrap_or_default().to_owned())
}

/// Asserts that an ended sidecar has left no process, no file, and no running request at the model.
async fn assert_cleaned_up(fixture: &TurnFixture, processes: &[i32], case: &str) {
    wait_until_gone(processes).await;
    let dir = fixture.sidecar.dir();
    let gone = || marked_processes(dir).is_empty() && running_requests(&fixture.model) == 0;
    eventually(
        &format!("{case}: no process and no model request is left"),
        gone,
    )
    .await;
    let leftovers = fixture.sidecar.leftover_files();
    assert!(leftovers.is_empty(), "{case}: {leftovers:?}");
}

fn running_requests(model: &ScriptedModel) -> usize {
    let requests = model.requests().into_iter();
    requests
        .filter(|request| request.delivery == Delivery::Running)
        .count()
}

#[tokio::test]
async fn sigterm_at_any_stage_sends_errors_and_leaves_no_process_or_file() {
    for (protocol, stage) in cases() {
        let case = format!("{protocol:?} {stage:?}");
        let mut fixture = TurnFixture::reach(stage, protocol).await;
        let processes = descendants(fixture.sidecar.pid());
        assert!(!processes.is_empty(), "{case}");
        fixture.sidecar.signal(Signal::SIGTERM);
        for client in std::mem::take(&mut fixture.clients) {
            let code = final_error_code(client)
                .await
                .unwrap_or_else(|error| panic!("{case}: {error}"));
            assert_eq!(code, "codex_unavailable", "{case}");
        }
        assert_eq!(fixture.sidecar.wait().await, Some(0), "{case}");
        assert_cleaned_up(&fixture, &processes, &case).await;
    }
}

#[tokio::test]
async fn sigkill_at_any_stage_ends_children_and_the_successor_removes_leftovers() {
    // At `Handshake` the successor would run the same faulty child and never become ready.
    for (protocol, stage) in cases().filter(|(_, stage)| *stage != TurnStage::Handshake) {
        let case = format!("{protocol:?} {stage:?}");
        let mut fixture = TurnFixture::reach(stage, protocol).await;
        let processes = descendants(fixture.sidecar.pid());
        assert!(!processes.is_empty(), "{case}");
        fixture.sidecar.signal(Signal::SIGKILL);
        for client in std::mem::take(&mut fixture.clients) {
            let code = final_error_code(client).await;
            assert!(code.is_err(), "{case}: {code:?}");
        }
        assert_eq!(fixture.sidecar.wait().await, None, "{case}");
        wait_until_gone(&processes).await;
        fixture.sidecar.restart();
        fixture.sidecar.wait_until_ready().await;
        let files = fixture.sidecar.leftover_files();
        assert_eq!(
            files.len(),
            3,
            "{case}: {files:?}, expected two sockets and one folder"
        );
        let response = ask(&fixture.sidecar, json!({"text": "Again."}), json!({})).await;
        assert_eq!(response.status, 200, "{case}: {response:?}");
        fixture.sidecar.signal(Signal::SIGTERM);
        assert_eq!(fixture.sidecar.wait().await, Some(0), "{case}");
        assert_cleaned_up(&fixture, &[], &case).await;
    }
}

#[tokio::test]
async fn sigkill_before_the_handshake_ends_the_child() {
    let mut fixture = TurnFixture::reach(TurnStage::Handshake, CodexProtocol::AppServer).await;
    let processes = descendants(fixture.sidecar.pid());
    assert!(!processes.is_empty());
    fixture.sidecar.signal(Signal::SIGKILL);
    assert_eq!(fixture.sidecar.wait().await, None);
    wait_until_gone(&processes).await;
}

#[tokio::test]
async fn client_disconnect_at_any_stage_frees_its_permit() {
    let has_permit = |stage| {
        !matches!(
            stage,
            TurnStage::Handshake | TurnStage::Idle | TurnStage::Draining
        )
    };
    for (protocol, stage) in cases().filter(|(_, stage)| has_permit(*stage)) {
        let case = format!("{protocol:?} {stage:?}");
        let mut fixture = TurnFixture::reach(stage, protocol).await;
        // The last client is the queued one. It disconnects first, or it would get the permit of the other.
        while fixture.clients.pop().is_some() {}
        let idle = || running_requests(&fixture.model) == 0 && !fixture.has_below("600");
        eventually(
            &format!("{case}: no model request and no command is running"),
            idle,
        )
        .await;
        let response = ask(&fixture.sidecar, json!({"text": "Free."}), json!({})).await;
        assert_eq!(response.status, 200, "{case}: {response:?}");
        fixture.sidecar.signal(Signal::SIGTERM);
        assert_eq!(fixture.sidecar.wait().await, Some(0), "{case}");
        assert_cleaned_up(&fixture, &[], &case).await;
    }
}

#[tokio::test]
async fn drain_ends_when_its_last_client_disconnects() {
    let mut fixture = TurnFixture::reach(TurnStage::Draining, CodexProtocol::AppServer).await;
    let processes = descendants(fixture.sidecar.pid());
    fixture.clients.clear();
    assert_eq!(fixture.sidecar.wait().await, Some(0));
    assert_cleaned_up(&fixture, &processes, "Draining").await;
}
