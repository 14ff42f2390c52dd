//! The sidecar's processor time of a delta, for a key without a budget and one with three limits in the SQLite ledger. The
//! sidecar is the same, and the keys take turns.

use std::time::Duration;

use http::Request;
use tests::http::{Body, with};
use tests::scripted_model::ScriptedModel;

use crate::client::{Target, chat, open_loop};
use crate::codex::Workload;
use crate::report::{Cell, Table};
use crate::settings::Settings;
use crate::stats::{count, median, us};
use crate::usage;

/// Limits that no run uses up.
const BUDGET: &str = "5h=1000000000,day.output=1000000000,month=1000000000";

/// Streams at the same time, and their deltas.
struct StreamLoad {
    label: String,
    workload: Workload,
    streams: usize,
    /// Time between the starts of two streams.
    interval: Duration,
}

pub(super) async fn run(settings: &Settings) -> anyhow::Result<Table> {
    let mut table = Table::new(
        "Processor time of the sidecar per delta, ledger in SQLite",
        &["no budget, µs", "budget of three limits, µs", "added, %"],
    );
    for load in loads(settings) {
        let [without, with_budget] = measure(settings, &load).await?;
        let added = (with_budget / without - 1.0) * 100.0;
        let cells = [without, with_budget, added].map(Cell::from);
        table.row(load.label, cells);
    }
    Ok(table)
}

fn loads(settings: &Settings) -> [StreamLoad; 2] {
    let burst = Workload {
        deltas: settings.pick(Workload::BURST.deltas, 500),
        ..Workload::BURST
    };
    let paced = Workload {
        deltas: settings.pick(150, 10),
        ..Workload::STEADY
    };
    [
        StreamLoad {
            label: format!("one response of {} deltas without pauses", burst.deltas),
            workload: burst,
            streams: 1,
            interval: Duration::from_secs(1),
        },
        StreamLoad {
            label: format!("200 streams of {} deltas, 50 deltas/s each", paced.deltas),
            workload: paced,
            streams: settings.pick(600, 10),
            interval: Duration::from_millis(15),
        },
    ]
}

/// Returns the medians of both keys.
async fn measure(settings: &Settings, load: &StreamLoad) -> anyhow::Result<[f64; 2]> {
    let model = ScriptedModel::start().await?;
    let sidecar = settings.instant_sidecar(&model).start().await;
    let target = Target::Unix(sidecar.socket());
    let workload = load.workload;
    let requests: [fn(Workload) -> Request<Body>; 2] = [of_free_key, of_limited_key];
    let mut costs = [Vec::new(), Vec::new()];
    // The first round warms up.
    for round in 0..=settings.rounds() {
        // The keys swap places in every second round, since the second of a pair may find the machine in another state.
        let mut order = [0, 1];
        order.rotate_left(round % 2);
        for index in order {
            let (request, costs) = (requests[index], &mut costs[index]);
            let running = open_loop(&target, load.interval, load.streams, move || {
                request(workload)
            });
            let (sent, cpu_time) = usage::cpu_time_during(sidecar.pid(), running).await;
            let deltas = sent?.require_complete()?.deltas();
            if round > 0 {
                costs.push(us(cpu_time) / count(deltas));
            }
        }
    }
    Ok(costs.map(|costs| median(&costs)))
}

fn of_free_key(workload: Workload) -> Request<Body> {
    let request = chat("codex-5", &workload.prompt());
    with(request, "x-codex-edge-client", "bob")
}

fn of_limited_key(workload: Workload) -> Request<Body> {
    let request = chat("codex-5", &workload.prompt());
    let request = with(request, "x-codex-edge-client", "ann");
    with(request, "x-codex-edge-budget", BUDGET)
}
