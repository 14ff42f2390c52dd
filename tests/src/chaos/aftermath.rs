//! What must be true when the storm has passed: all slots free, no turn at the model, nothing left behind.
//! The contract's section 7; each check counts, so that the report shows what was found and not only that it was good.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::chain::{ANSWER_DEADLINE, Chain, SLOTS, STOP_DEADLINE, WORKERS, workers};
use super::report::Report;
use super::verdict::Outcome;
use super::visit::Visit;
use crate::http::{Client, Version};
use crate::processes;
use crate::scripted_model::{Delivery, ScriptedModel};
use crate::sidecar::Sidecar;

/// Time for what ends by itself: a worker that waits for its restart (10 s), the last interrupted turn.
const SETTLED: Duration = Duration::from_secs(20);

/// Time between two looks at a condition.
const POLL: Duration = Duration::from_millis(20);

/// The hold of the turns that take the slots.
const HOLD: &str = "until all slots were counted";

/// Looks at what the storm has left, and stops it piece by piece. `descriptors` is what the first sidecar had open.
pub(crate) async fn check(mut chain: Chain, descriptors: usize, report: &mut Report) {
    chain.sidecar.wait_until_ready().await;
    alive(&chain, report).await;
    slots(&chain, report).await;
    folders(chain.sidecar.dir(), report).await;
    chain.envoy.stop().await;
    let mut sidecar = chain.sidecar;
    let pid = sidecar.id().unwrap_or_default();
    let open = || processes::descriptors(pid);
    expect(report, "descriptors of the sidecar", descriptors, open).await;
    stop(&mut sidecar, report).await;
    gone(&sidecar, report).await;
    if sidecar.log().contains("panicked at") {
        report.add_violation("a sidecar panicked, as its log says");
    }
}

/// Counts until `wanted` is there, or time is over. What is found then is written down.
pub(crate) async fn expect(
    report: &mut Report,
    what: &'static str,
    wanted: usize,
    count: impl Fn() -> usize,
) {
    let settled = async {
        while count() != wanted {
            sleep(POLL).await;
        }
    };
    let _in_time = timeout(SETTLED, settled).await;
    note(report, what, wanted, count());
}

pub(crate) fn note(report: &mut Report, what: &'static str, wanted: usize, found: usize) {
    report.add_count(what, found);
    if found != wanted {
        report.add_violation(format!("{what}: {found} instead of {wanted}"));
    }
}

/// The workers are back, and nothing else runs, here or at the model.
async fn alive(chain: &Chain, report: &mut Report) {
    let sidecar = &chain.sidecar;
    expect(report, "workers", WORKERS, || workers(sidecar).len()).await;
    let below = || processes::descendants(sidecar.id().unwrap_or_default()).len();
    expect(report, "processes below the sidecar", WORKERS, below).await;
    let running = || running(&chain.model);
    expect(report, "turns that run at the model", 0, running).await;
}

/// Fills the slots, and asks for one turn more.
async fn slots(chain: &Chain, report: &mut Report) {
    chain.model.clear();
    let mut held = JoinSet::new();
    for turn in 0..SLOTS {
        let client = chain.envoy.connect(Version::H2).await;
        held.spawn(ask(Visit::held(&format!("held {turn}"), HOLD), client));
    }
    let running = || running(&chain.model);
    expect(report, "turns at once", SLOTS, running).await;
    let client = chain.envoy.connect(Version::H1).await;
    let more = ask(Visit::held("one more", HOLD), client).await;
    let is_refused = more == Ok(Outcome::Refused(429, "concurrency_exceeded".into()));
    note(report, "turns refused beyond", 1, is_refused.into());
    chain.model.release(HOLD);
    let mut finished = 0;
    while let Some(Ok(ended)) = held.join_next().await {
        finished += usize::from(ended == Ok(Outcome::Finished));
    }
    note(report, "turns at once that finish", SLOTS, finished);
}

/// The folders of the living are there, and none of the dead.
async fn folders(dir: &Path, report: &mut Report) {
    let private = || private_folders(dir).len();
    expect(report, "private folders", 1, private).await;
    let databases = || folders_below(dir, ".", "child-");
    expect(report, "folders of workers", WORKERS, databases).await;
    let workspaces = || folders_below(dir, "work", "turn-");
    expect(report, "folders of agents", 0, workspaces).await;
}

/// Sidecar and Envoy have ended.
async fn gone(sidecar: &Sidecar, report: &mut Report) {
    note(report, "files that are left", 0, sidecar.remains().len());
    let marked = || processes::marked(sidecar.dir()).len();
    expect(report, "marked processes that survive", 0, marked).await;
    let descendants = || processes::descendants(processes::own()).len();
    expect(report, "descendants that survive", 0, descendants).await;
}

async fn ask(mut visit: Visit, mut client: Client) -> Result<Outcome, String> {
    let received = timeout(ANSWER_DEADLINE, visit.run(&mut client)).await;
    let received = received.map_err(|elapsed| elapsed.to_string())?;
    visit.judge(&received)
}

fn running(model: &ScriptedModel) -> usize {
    let requests = model.requests();
    let running = requests
        .iter()
        .filter(|request| request.delivery == Delivery::Running);
    running.count()
}

async fn stop(sidecar: &mut Sidecar, report: &mut Report) {
    sidecar.signal(Signal::SIGTERM);
    match timeout(STOP_DEADLINE, sidecar.ended()).await {
        Ok(Some(0)) => {}
        Ok(code) => report.add_violation(format!("at the end the sidecar ended with {code:?}")),
        Err(_elapsed) => {
            report.add_violation(format!(
                "at the end the sidecar runs after {STOP_DEADLINE:?}"
            ));
        }
    }
}

fn private_folders(dir: &Path) -> Vec<PathBuf> {
    let names = names_in(dir).into_iter();
    let private = names.filter(|name| name.starts_with("codex-edge-"));
    private.map(|name| dir.join(name)).collect()
}

/// How many names begin with `prefix` in the folder `inside` of private folders.
fn folders_below(dir: &Path, inside: &str, prefix: &str) -> usize {
    let folders = private_folders(dir).into_iter();
    let names = folders.flat_map(|folder| names_in(&folder.join(inside)));
    names.filter(|name| name.starts_with(prefix)).count()
}

fn names_in(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}
