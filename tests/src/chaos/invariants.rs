//! The state after a run: all permits free, no turns at the model, no leftover files or processes.
//! The contract's section 7; every check adds a count, so that the report shows the measured values.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::chain::{
    Chain, MAX_TURNS, RESPONSE_DEADLINE, STOP_DEADLINE, WORKERS, start_agents, workers,
};
use super::client_request::ClientRequest;
use super::outcome::RequestOutcome;
use super::report::Report;
use crate::http::{Client, Version};
use crate::processes;
use crate::scripted_model::{Delivery, ScriptedModel};
use crate::sidecar::Sidecar;

/// Deadline for the last recoveries: a worker that waits for its restart (10 s), the last interrupted turn.
const SETTLE_DEADLINE: Duration = Duration::from_secs(20);

/// Time between two checks of a condition.
const POLL: Duration = Duration::from_millis(20);

/// The hold of the turns that use all permits.
const HOLD: &str = "until all permits were counted";

/// Checks the state after a run, and stops the chain part by part. `descriptors` is the count of the first sidecar.
pub(crate) async fn check(mut chain: Chain, descriptors: usize, report: &mut Report) {
    chain.sidecar.wait_until_ready().await;
    // The last sidecar may not have had a turn of an agent yet.
    start_agents(&chain.sidecar).await;
    check_processes(&chain, report).await;
    check_permits(&chain, report).await;
    check_folders(chain.sidecar.dir(), report).await;
    chain.envoy.stop().await;
    let mut sidecar = chain.sidecar;
    let pid = sidecar.id().unwrap_or_default();
    let open = || processes::descriptors(pid);
    expect(report, "descriptors of the sidecar", descriptors, open).await;
    stop(&mut sidecar, report).await;
    check_leftovers(&sidecar, report).await;
    if sidecar.log().contains("thread panicked") {
        report.add_violation("a sidecar panicked, see its log");
    }
}

/// Counts until the result is `wanted` or the deadline has passed, and records the last result.
pub(crate) async fn expect(
    report: &mut Report,
    name: &'static str,
    wanted: usize,
    count: impl Fn() -> usize,
) {
    let settled = async {
        while count() != wanted {
            sleep(POLL).await;
        }
    };
    let _ = timeout(SETTLE_DEADLINE, settled).await; // `record` reports a timeout as a wrong count
    record(report, name, wanted, count());
}

/// Records a count, and a violation if it is not `wanted`.
pub(crate) fn record(report: &mut Report, name: &'static str, wanted: usize, found: usize) {
    report.add_count(name, found);
    if found != wanted {
        report.add_violation(format!("{name}: {found} instead of {wanted}"));
    }
}

/// Checks that all workers run, and no other process of the sidecar and no turn at the model.
async fn check_processes(chain: &Chain, report: &mut Report) {
    let sidecar = &chain.sidecar;
    expect(report, "workers", WORKERS, || workers(sidecar).len()).await;
    let below = || processes::descendants(sidecar.id().unwrap_or_default()).len();
    expect(report, "processes below the sidecar", WORKERS, below).await;
    let running = || running(&chain.model);
    expect(report, "running turns at the model", 0, running).await;
}

/// Checks the number of permits: uses all of them, and sends one request more.
async fn check_permits(chain: &Chain, report: &mut Report) {
    chain.model.clear();
    let mut held = JoinSet::new();
    for turn in 0..MAX_TURNS {
        let client = chain.envoy.connect(Version::H2).await;
        held.spawn(run(
            ClientRequest::held(&format!("held {turn}"), HOLD),
            client,
        ));
    }
    let running = || running(&chain.model);
    expect(report, "concurrent turns", MAX_TURNS, running).await;
    let client = chain.envoy.connect(Version::H1).await;
    let more = run(ClientRequest::held("one more", HOLD), client).await;
    let is_rejected = more == Ok(RequestOutcome::Rejected(429, "concurrency_exceeded".into()));
    record(report, "requests rejected beyond", 1, is_rejected.into());
    chain.model.release(HOLD);
    let mut finished = 0;
    while let Some(Ok(ended)) = held.join_next().await {
        finished += usize::from(ended == Ok(RequestOutcome::Finished));
    }
    record(report, "concurrent turns that finish", MAX_TURNS, finished);
}

/// Checks that running processes have folders, and exited ones do not.
async fn check_folders(dir: &Path, report: &mut Report) {
    let private = || private_folders(dir).len();
    expect(report, "private folders", 1, private).await;
    let databases = || folders_below(dir, ".", "child-");
    expect(report, "folders of workers", WORKERS, databases).await;
    let workspaces = || folders_below(dir, "work", "turn-");
    expect(report, "folders of agents", 0, workspaces).await;
}

/// Checks that no files and processes remain after the exit of sidecar and Envoy.
async fn check_leftovers(sidecar: &Sidecar, report: &mut Report) {
    record(report, "leftover files", 0, sidecar.leftover_files().len());
    let marked = || processes::marked_processes(sidecar.dir()).len();
    expect(report, "surviving marked processes", 0, marked).await;
    let descendants = || processes::descendants(processes::own_pid()).len();
    expect(report, "surviving descendants", 0, descendants).await;
}

async fn run(mut request: ClientRequest, mut client: Client) -> Result<RequestOutcome, String> {
    let received = timeout(RESPONSE_DEADLINE, request.run(&mut client))
        .await
        .map_err(|elapsed| elapsed.to_string())?;
    request.evaluate(&received)
}

fn running(model: &ScriptedModel) -> usize {
    model
        .requests()
        .iter()
        .filter(|request| request.delivery == Delivery::Running)
        .count()
}

async fn stop(sidecar: &mut Sidecar, report: &mut Report) {
    sidecar.signal(Signal::SIGTERM);
    match timeout(STOP_DEADLINE, sidecar.ended()).await {
        Ok(Some(0)) => {}
        Ok(code) => report.add_violation(format!("the last sidecar exited with {code:?}")),
        Err(_elapsed) => {
            report.add_violation(format!(
                "the last sidecar runs {STOP_DEADLINE:?} after SIGTERM"
            ));
        }
    }
}

fn private_folders(dir: &Path) -> Vec<PathBuf> {
    names_in(dir)
        .into_iter()
        .filter(|name| name.starts_with("codex-edge-"))
        .map(|name| dir.join(name))
        .collect()
}

/// The number of names that begin with `prefix` in the folder `inside` of the private folders.
fn folders_below(dir: &Path, inside: &str, prefix: &str) -> usize {
    private_folders(dir)
        .into_iter()
        .flat_map(|folder| names_in(&folder.join(inside)))
        .filter(|name| name.starts_with(prefix))
        .count()
}

fn names_in(dir: &Path) -> Vec<String> {
    std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}
