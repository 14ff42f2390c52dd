//! The limits of agent turns: one client at a time, the size and the removal of the folder, and the time.

use std::fs;
use std::path::Path;

use http::Request;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::http::{Body, BufferedResponse, with};
use tests::sidecar::{Sidecar, SidecarOptions};
use tests::sse::Events;
use xtask::tools::Tool;

use crate::agent::command_output;
use crate::stack::{assert_error, chat, eventually, start_codex, start_with};

/// A request of a client with the agent profile.
fn agent(client: &str, script: &Value, more: &Value) -> Request<Body> {
    let request = with(chat(script, more), "x-codex-edge-profile", "agent");
    with(request, "x-codex-edge-client", client)
}

/// Makes the model of `client` call a tool with `command` and then reply `done`.
async fn run(sidecar: &Sidecar, client: &str, command: &str) -> BufferedResponse {
    let call = json!({"call": "exec_command", "arguments": {"cmd": command}});
    let request = agent(client, &json!([[call], [{"text": "done"}]]), &json!({}));
    let mut connection = sidecar.connect().await;
    connection.send(request).await.expect("a response arrives")
}

/// Starts a turn of `client` that goes on until the model is released.
async fn hold(sidecar: &Sidecar, client: &str) -> Events {
    let script = json!([{"text": "old", "open": true}, {"hold": "end"}, {"text": "est"}]);
    let request = agent(client, &script, &json!({"stream": true}));
    let mut connection = sidecar.connect().await;
    let mut events = Events::new(
        connection
            .stream(request)
            .await
            .expect("a response arrives"),
    );
    events.next_json().await;
    events
}

fn turn_folders(parent: &Path) -> usize {
    let entries = fs::read_dir(parent.join("codex-edge-turns"))
        .into_iter()
        .flatten()
        .flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("turn-"))
        .count()
}

fn writing_to(options: SidecarOptions, folder: &Path) -> SidecarOptions {
    options
        .env("PROXY_SANDBOX_MODE", "workspace-write")
        .env("PROXY_CODEX_WORKDIR", &folder.to_string_lossy())
}

#[tokio::test]
async fn agents_of_another_key_are_rejected_while_one_runs() {
    for (setting, status) in [("", 200), ("one", 429), ("any", 200)] {
        let (model, sidecar) =
            start_with(|options| options.env("PROXY_AGENT_CLIENTS", setting)).await;
        let mut held = hold(&sidecar, "a").await;
        let other = run(&sidecar, "b", "true").await;
        if status == 429 {
            assert_error(&other, 429, "agents_busy");
            assert_eq!(other.headers["retry-after"], "5");
        } else {
            assert_eq!(other.status, 200, "{other:?}");
        }
        let same = run(&sidecar, "a", "true").await;
        assert_eq!(same.status, 200, "{same:?}");
        // A chat runs no command, so that nothing of a chat can be read.
        let plain = chat(&json!({"text": "Hi."}), &json!({}));
        let plain = with(plain, "x-codex-edge-client", "b");
        let plain = sidecar.connect().await.send(plain).await.unwrap();
        assert_eq!(plain.status, 200, "{plain:?}");
        model.release("end");
        held.rest().await.expect("the stream ends");
        let after = async {
            // The place is free once Codex has ended the thread.
            while run(&sidecar, "b", "true").await.status != 200 {}
        };
        let after = tokio::time::timeout(crate::stack::SOON, after).await;
        assert!(after.is_ok(), "the other client's agents never run");
    }
}

#[tokio::test]
async fn agents_cannot_read_the_home_the_logs_and_each_others_folders() {
    for codex in [Tool::Codex, Tool::CodexOldest] {
        for mode in ["read-only", "workspace-write"] {
            let logs = tempfile::tempdir().unwrap();
            let usage_log = logs.path().join("usage.ndjson");
            let (model, sidecar) = start_codex(codex, |options| {
                options
                    .env("PROXY_SANDBOX_MODE", mode)
                    .env("TOKEN_LOG_PATH", &usage_log.to_string_lossy())
                    .home_file("auth.json", "{\"secret\":1}")
            })
            .await;
            // The folder of this turn is what the agent of another client looks for.
            let mut held = hold(&sidecar, "a").await;
            let command = format!(
                "exec 2>&1; cat {home}/auth.json; ls {home}; cat {log}; ls -d {dir}/codex-edge-*/work/codex-edge-turns/turn-* 2>/dev/null; ls {dir}/codex-edge-*/child-*/home; echo mine > mine; cat mine; echo end",
                home = sidecar.dir().join("codex-home").display(),
                log = usage_log.display(),
                dir = sidecar.dir().display(),
            );
            let response = run(&sidecar, "b", &command).await;
            assert_eq!(response.status, 200, "{response:?}");
            let output = command_output(&model);
            assert!(output.contains("end"), "{output}");
            for hidden in ["secret", "config.toml\n", "\"client\"", "gpt"] {
                assert!(!output.contains(hidden), "{mode} {hidden}: {output}");
            }
            let can_write = output.lines().any(|line| line == "mine");
            assert_eq!(can_write, mode == "workspace-write", "{output}");
            if mode == "workspace-write" {
                let turns = output.matches("/turn-").count();
                assert_eq!(turns, 0, "{output}");
            }
            model.release("end");
            held.rest().await.expect("the stream ends");
        }
    }
}

#[tokio::test]
async fn folder_of_a_turn_is_removed_whatever_it_contains() {
    let folder = tempfile::tempdir().unwrap();
    let outside = folder.path().join("outside");
    fs::write(&outside, "kept").unwrap();
    let (model, sidecar) = start_with(|options| writing_to(options, folder.path())).await;
    let command = format!(
        "mkdir -p a/b/c && echo x > a/b/f && chmod 0 a/b/f && ln -s {} a/link && ln -s / root && chmod 0 a/b/c a/b a && ls",
        outside.display()
    );
    let response = run(&sidecar, "a", &command).await;
    assert_eq!(response.status, 200, "{response:?}");
    assert!(command_output(&model).contains("root"));
    eventually("the folder is removed", || turn_folders(folder.path()) == 0).await;
    assert_eq!(fs::read_to_string(outside).unwrap(), "kept");
}

#[tokio::test]
async fn folder_that_a_killed_sidecar_left_is_removed_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let (_model, mut sidecar) = start_with(|options| writing_to(options, folder.path())).await;
    let _held = hold(&sidecar, "a").await;
    assert_eq!(turn_folders(folder.path()), 1);
    sidecar.signal(Signal::SIGKILL);
    assert_eq!(sidecar.wait().await, None);
    assert_eq!(turn_folders(folder.path()), 1);
    sidecar.restart();
    sidecar.wait_until_ready().await;
    assert_eq!(turn_folders(folder.path()), 0);
    assert!(sidecar.log().contains("removed orphaned folder"));
}

#[tokio::test]
async fn folder_over_its_limit_ends_the_turn() {
    let folder = tempfile::tempdir().unwrap();
    let (model, sidecar) = start_with(|options| {
        writing_to(options, folder.path()).env("PROXY_AGENT_FOLDER_MAX_MIB", "16")
    })
    .await;
    let one_file = "head -c 30000000 /dev/zero > big; wc -c big";
    let response = run(&sidecar, "a", one_file).await;
    assert_eq!(response.status, 200, "{response:?}");
    assert!(
        command_output(&model).contains("16777216 big"),
        "{}",
        command_output(&model)
    );
    let many_files =
        "for i in 1 2 3 4; do head -c 9000000 /dev/zero > $i; done; sleep 9; echo late";
    let response = run(&sidecar, "a", many_files).await;
    assert_error(&response, 502, "agent_folder_full");
    let message = response.json()["error"]["message"].take();
    assert!(
        message
            .as_str()
            .unwrap()
            .contains("PROXY_AGENT_FOLDER_MAX_MIB"),
        "{message}"
    );
    eventually("the folder is removed", || turn_folders(folder.path()) == 0).await;
}

/// A number of seconds that no other run of the tests sleeps for.
fn own_seconds(kind: u32) -> String {
    (kind * 10_000_000 + std::process::id()).to_string()
}

/// The processes with the command line `sleep SECONDS`.
fn sleepers(seconds: &str) -> Vec<i32> {
    let wanted = format!("sleep\0{seconds}\0");
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == wanted.as_bytes())
    })
    .collect()
}

#[tokio::test]
async fn turn_with_too_many_processes_or_too_much_memory_ends() {
    let seconds = own_seconds(1);
    for codex in [Tool::Codex, Tool::CodexOldest] {
        for mode in ["read-only", "danger-full-access"] {
            let (model, sidecar) = start_codex(codex, |options| {
                options
                    .env("PROXY_SANDBOX_MODE", mode)
                    .env("PROXY_AGENT_MAX_PROCESSES", "16")
                    .env("PROXY_AGENT_MEMORY_MAX_MIB", "256")
            })
            .await;
            let allowed = "for i in 1 2 3 4 5; do sleep 0.1 & done; wait; echo all";
            let response = run(&sidecar, "a", allowed).await;
            assert_eq!(response.status, 200, "{mode}: {response:?}");
            assert!(command_output(&model).contains("all"));
            // In the sandbox none is missed, and all end with the command. Without it, detached ones can be missed.
            let many = match mode {
                "read-only" => {
                    format!(
                        "for i in $(seq 40); do (cd /; env -i setsid sh -c 'sleep {seconds} &'); done; sleep {seconds}"
                    )
                }
                _ => format!("for i in $(seq 40); do sleep {seconds} & done; wait"),
            };
            for (command, code, variable) in [
                (
                    many,
                    "agent_processes_exceeded",
                    "PROXY_AGENT_MAX_PROCESSES",
                ),
                // A line without an end, which `tail` keeps in memory.
                (
                    format!("{{ head -c 400000000 /dev/zero; sleep {seconds}; }} | tail -n 1"),
                    "agent_memory_exceeded",
                    "PROXY_AGENT_MEMORY_MAX_MIB",
                ),
            ] {
                // The model is silent once the command runs in the background, so that only the limit ends the turn.
                let call = json!({"call": "exec_command", "arguments": {"cmd": command}});
                let script = json!([[call], [{"hold": "never"}]]);
                let mut connection = sidecar.connect().await;
                let response = connection.send(agent("a", &script, &json!({}))).await;
                let response = response.expect("a response arrives");
                assert_error(&response, 502, code);
                let message = response.json()["error"]["message"].to_string();
                assert!(message.contains(variable), "{mode}: {message}");
                eventually("the processes end", || sleepers(&seconds).is_empty()).await;
            }
            let after = run(&sidecar, "a", "echo still").await;
            assert_eq!(after.status, 200, "{mode}: {after:?}");
        }
    }
}

#[tokio::test]
async fn processes_that_an_agent_leaves_behind_end_with_its_turn() {
    let seconds = own_seconds(2);
    let (model, sidecar) =
        start_with(|options| options.env("PROXY_SANDBOX_MODE", "danger-full-access")).await;
    for (number, detached) in [
        format!("nohup setsid sleep {seconds} >/dev/null 2>&1 &"),
        format!("(cd / && exec setsid sleep {seconds}) >/dev/null 2>&1 &"),
        format!("env -i setsid sleep {seconds} >/dev/null 2>&1 &"),
    ]
    .into_iter()
    .enumerate()
    {
        // Held, so that the process can be seen to run until the turn ends.
        let end = format!("end-{number}");
        let command = format!("{detached} sleep 0.3; echo left");
        let call = json!({"call": "exec_command", "arguments": {"cmd": command}});
        let script = json!([[call], [{"hold": end}, {"text": "done"}]]);
        let mut connection = sidecar.connect().await;
        let turn = connection.send(agent("a", &script, &json!({})));
        let release = async {
            eventually("the process runs", || !sleepers(&seconds).is_empty()).await;
            model.release(&end);
        };
        let (response, ()) = tokio::join!(turn, release);
        let response = response.expect("a response arrives");
        assert_eq!(response.status, 200, "{response:?}");
        assert!(command_output(&model).contains("left"));
        eventually("the process ends", || sleepers(&seconds).is_empty()).await;
    }
}

#[tokio::test]
async fn agent_has_a_time_limit_of_its_own() {
    let (_model, sidecar) =
        start_with(|options| options.env("PROXY_AGENT_TIMEOUT_MS", "2000")).await;
    let response = run(&sidecar, "a", "sleep 9").await;
    assert_error(&response, 504, "request_timeout");
    let plain = chat(
        &json!({"text": "Hello", "delta_chars": 1, "delay_ms": 700}),
        &json!({}),
    );
    let plain = sidecar.connect().await.send(plain).await.unwrap();
    assert_eq!(plain.status, 200, "{plain:?}");
}
