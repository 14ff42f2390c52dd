//! A log with a reader that goes away or blocks: the sidecar serves, drains and ends as always.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::json;
use tempfile::TempDir;
use tests::http::get;
use tests::scripted_model::ScriptedModel;
use tests::sidecar::{Sidecar, SidecarOptions, sidecar_binary, wait_until_gone};
use xtask::command::{output, write_program};

use crate::stack::{ask, start, stream};

/// Starts a sidecar that logs every line into a pipe, and returns the reading end, which is not read.
async fn start_with_pipe(folder: &Path) -> (ScriptedModel, Sidecar, File) {
    let pipe = folder.join("pipe");
    output(std::process::Command::new("mkfifo").arg(&pipe)).expect("the test folder is writable");
    let program = folder.join("sidecar");
    let (binary, shown) = (sidecar_binary().display(), pipe.display());
    let script = format!("#!/bin/sh\nexec '{binary}' 2>'{shown}'");
    write_program(&program, &script).expect("the test folder is writable");
    let reader = File::options()
        .read(true)
        // Without it the call waits for a writer.
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(&pipe)
        .expect("the pipe can be read");
    let model = ScriptedModel::start().await.expect("the model starts");
    let options = SidecarOptions::new(&model)
        .program(program)
        .env("RUST_LOG", "trace");
    (model, options.start().await, reader)
}

/// Asserts that the sidecar serves and drops lines, and ends after SIGTERM with its stream whole.
async fn assert_serves_and_drains(model: &ScriptedModel, mut sidecar: Sidecar) {
    // More than the pipe and the buffer hold.
    let long = "word ".repeat(60_000);
    for _ in 0..5 {
        let response = ask(&sidecar, json!({"text": long}), json!({})).await;
        assert_eq!(response.status, 200, "{response:?}");
    }
    let mut admin = sidecar.connect_admin().await;
    let metrics = admin
        .send(get("/metrics"))
        .await
        .expect("the sidecar answers");
    let metrics = String::from_utf8_lossy(&metrics.body);
    let dropped = metrics
        .lines()
        .find_map(|line| line.strip_prefix("sidecar_log_lines_dropped_total "))
        .expect("the metric exists");
    assert!(
        dropped.parse::<f64>().is_ok_and(|lines| lines > 0.0),
        "{dropped}"
    );
    let children = sidecar.children();
    let script = json!([{"text": "par", "open": true}, {"hold": "end"}, {"text": "ty"}]);
    let mut events = stream(&sidecar, script).await;
    events.next_json().await;
    sidecar.signal(Signal::SIGTERM);
    model.release("end");
    let rest = events.rest().await.expect("the stream ends");
    assert_eq!(rest.last().map(String::as_str), Some("data: [DONE]"));
    drop(events);
    assert_eq!(sidecar.wait().await, Some(0));
    wait_until_gone(&children).await;
    assert!(sidecar.leftover_files().is_empty());
}

#[tokio::test]
async fn sidecar_serves_and_drains_after_its_log_reader_has_gone() {
    let folder = TempDir::new().unwrap();
    let (model, sidecar, reader) = start_with_pipe(folder.path()).await;
    drop(reader);
    assert_serves_and_drains(&model, sidecar).await;
}

#[tokio::test]
async fn sidecar_serves_and_drains_while_its_log_reader_blocks() {
    let folder = TempDir::new().unwrap();
    let (model, sidecar, _reader) = start_with_pipe(folder.path()).await;
    assert_serves_and_drains(&model, sidecar).await;
}

#[tokio::test]
async fn last_lines_of_the_log_are_written_before_the_exit() {
    let (_model, mut sidecar) = start().await;
    sidecar.signal(Signal::SIGTERM);
    assert_eq!(sidecar.wait().await, Some(0));
    assert!(
        sidecar.log().contains("sidecar stopped"),
        "{}",
        sidecar.log()
    );
}
