//! Orphans of a killed sidecar, and processes that are not: those of sidecars in other pid namespaces.
//!
//! A container is a pid namespace by unshare(1) here, with a `/proc` of its own or with the host's.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::{Child, Command};

use nix::sys::signal::Signal;
use serde_json::json;
use tempfile::TempDir;
use tests::processes::descendants;
use tests::scripted_model::ScriptedModel;
use tests::sidecar::{Sidecar, SidecarOptions, is_running, sidecar_binary};
use xtask::command::write_program;

use crate::stack::{ask, eventually, start, start_with};

/// A process with an owner mark, killed at the end of the test.
struct MarkedProcess(Child);

impl MarkedProcess {
    fn start(mark: &str) -> Self {
        let mut command = Command::new("sleep");
        let child = command.arg("600").env("CODEX_EDGE_OWNED_BY", mark).spawn();
        Self(child.expect("sleep can be started"))
    }

    fn is_running(&self) -> bool {
        is_running(self.0.id().cast_signed())
    }
}

impl Drop for MarkedProcess {
    fn drop(&mut self) {
        // Fails only for a process that the sidecar has killed.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Returns the owner mark of the sidecar's children.
fn mark_of(sidecar: &Sidecar) -> String {
    let child = sidecar.children()[0];
    let environment =
        fs::read_to_string(format!("/proc/{child}/environ")).expect("the child lives");
    let mark = environment
        .split('\0')
        .find_map(|entry| entry.strip_prefix("CODEX_EDGE_OWNED_BY="));
    mark.expect("a child has a mark").to_owned()
}

#[tokio::test]
async fn start_ends_orphans_of_a_killed_predecessor_and_leaves_what_it_cannot_judge() {
    let (_model, mut sidecar) = start().await;
    let mark = mark_of(&sidecar);
    sidecar.signal(Signal::SIGKILL);
    assert_eq!(sidecar.wait().await, None);
    let orphan = MarkedProcess::start(&mark);
    let others = [
        // Of an earlier version, whose mark does not say where its pid counts; and of another place.
        "1-1",
        "7-145743",
        "7-145743-0123456789abcdef",
    ]
    .map(MarkedProcess::start);
    sidecar.restart();
    sidecar.wait_until_ready().await;
    eventually("the orphan is killed", || !orphan.is_running()).await;
    assert!(others.iter().all(MarkedProcess::is_running));
    assert_eq!(sidecar.log().matches("killed orphaned child").count(), 1);
}

/// The view that a container has of processes.
#[derive(Debug, Clone, Copy)]
enum ContainerProc {
    Own,
    /// Its `/proc` is that of the host, which counts other pids.
    OfHost,
}

/// Returns a program that runs the sidecar in a pid namespace of its own, as the first process in it.
fn container(dir: &Path, proc: ContainerProc) -> std::path::PathBuf {
    let program = dir.join(format!("container-{proc:?}"));
    // Only root may create a pid namespace without a user namespace.
    let user = match nix::unistd::geteuid().is_root() {
        true => "",
        false => "--user --map-root-user",
    };
    let mount = match proc {
        ContainerProc::Own => "--mount-proc",
        ContainerProc::OfHost => "",
    };
    let sidecar = sidecar_binary().display();
    let script =
        format!("#!/bin/sh\nexec unshare {user} --pid --fork --kill-child {mount} '{sidecar}'");
    write_program(&program, &script).expect("the test folder is writable");
    program
}

fn sharing(folder: &Path, options: SidecarOptions) -> SidecarOptions {
    options.env("TMPDIR", &folder.to_string_lossy())
}

fn private_folders(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).expect("the folder exists").flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("codex-edge-")).count()
}

async fn assert_serves(sidecar: &Sidecar) {
    let response = ask(sidecar, json!({"text": "Hi."}), json!({})).await;
    assert_eq!(response.status, 200, "{response:?}");
}

#[tokio::test]
async fn sidecars_of_a_host_and_of_containers_leave_each_others_children_and_folders() {
    let programs = TempDir::new().unwrap();
    // A volume that all of them use for temporary files.
    let shared = programs.path().join("tmp");
    fs::DirBuilder::new().mode(0o700).create(&shared).unwrap();
    let model = ScriptedModel::start().await.unwrap();
    let options = || sharing(&shared, SidecarOptions::new(&model));
    let mut running: Vec<(Sidecar, Vec<i32>)> = Vec::new();
    // Each start is judged by what it leaves of those before it: host beside container, container beside host.
    for program in [
        Some(ContainerProc::Own),
        None,
        Some(ContainerProc::OfHost),
        Some(ContainerProc::Own),
        None,
    ] {
        let options = match program {
            Some(proc) => options()
                .program(container(programs.path(), proc))
                // Codex's sandbox does not work reliably with a foreign `/proc`.
                .env("PROXY_SANDBOX_MODE", "danger-full-access"),
            None => options(),
        };
        let sidecar = options.start().await;
        let processes = descendants(sidecar.pid());
        assert!(!processes.is_empty(), "{program:?}");
        running.push((sidecar, processes));
        assert_eq!(private_folders(&shared), running.len(), "{program:?}");
        for (sidecar, processes) in &running {
            let all_run = processes.iter().all(|pid| is_running(*pid));
            assert!(
                all_run,
                "{program:?} ended {processes:?}: {}",
                sidecar.log()
            );
            assert_serves(sidecar).await;
        }
    }
    // A container that is killed with its namespace leaves a folder, which any other one removes.
    let (mut killed, _processes) = running.remove(0);
    killed.signal(Signal::SIGKILL);
    assert_eq!(killed.wait().await, None);
    let (mut host, _processes) = running.remove(0);
    host.signal(Signal::SIGTERM);
    assert_eq!(host.wait().await, Some(0), "{}", host.log());
    eventually("the namespace has ended", || private_folders(&shared) == 4).await;
    host.restart();
    host.wait_until_ready().await;
    eventually("one folder for each sidecar", || {
        private_folders(&shared) == 4
    })
    .await;
    assert!(
        host.log().contains("removed orphaned folder"),
        "{}",
        host.log()
    );
    for (sidecar, _processes) in &running {
        assert_serves(sidecar).await;
    }
}

#[tokio::test]
async fn home_that_a_container_has_locked_is_refused_without_a_pid_of_the_container() {
    let programs = TempDir::new().unwrap();
    let program = container(programs.path(), ContainerProc::Own);
    let (model, sidecar) = start_with(|options| options.program(program)).await;
    let home = sidecar.dir().join("codex-home");
    let mut second = SidecarOptions::new(&model)
        .env("CODEX_HOME", &home.to_string_lossy())
        .spawn();
    assert_eq!(second.wait().await, Some(64), "{}", second.log());
    let reason = "locked by another sidecar, a process with an unknown pid";
    assert!(second.log().contains(reason), "{}", second.log());
}
