//! Instructions that Envoy executes for a request, in user space: they repeat to about 1 %, whatever else runs.
//! Valgrind's callgrind, switched on after a warm-up by `callgrind_control`; one connection, one request at a time.
//!
//! V8 reserves 10 GiB of addresses for every wasm memory, of which valgrind allows few, so each variant has an Envoy
//! to itself.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use tempfile::TempDir;
use tests::envoy::Envoy;
use tests::http::{Client, Version};
use xtask::command::output;

use super::request_case::Workload;
use super::upstream::Upstream;
use super::variant::Variant;
use crate::Settings;
use crate::report::{Cell, Figure, Series, Table};
use crate::stats::{count, median};

/// Time for an Envoy that runs at a fiftieth of its speed to get ready.
const PATIENCE: Duration = Duration::from_secs(300);

/// Counted how often.
const REPEATS: usize = 3;

/// What the contract allows the filter to add, in thousands.
const AIMS: [f64; 4] = [55.0, 75.0, 205.0, 2600.0];

/// Counts every variant with every request that is accepted, and those that are refused.
pub(super) async fn run(
    settings: &Settings,
    upstream: &Upstream,
) -> anyhow::Result<(Table, Figure)> {
    let columns = Workload::ALL.map(Workload::short);
    let mut table = Table::new(
        "Instructions a request in Envoy, thousands: total (added to none)",
        &columns,
    );
    let mut base: Option<Vec<f64>> = None;
    let mut series = Vec::new();
    for variant in Variant::COUNTED {
        let totals = count_variant(settings, variant, upstream).await?;
        let none = base.get_or_insert_with(|| totals.clone());
        let pairs = || totals.iter().zip(none.iter());
        let cells = pairs().map(|(total, none)| match variant {
            Variant::None => Cell::Text(format!("{total:.0}")),
            _ => Cell::Text(format!("{total:.0} ({:+.0})", total - none)),
        });
        table.row(variant.name(), cells);
        if Variant::ALL.contains(&variant) && variant != Variant::None {
            let added = pairs().take(AIMS.len()).zip(0u32..);
            let points = added.map(|((total, none), group)| (f64::from(group), total - none));
            series.push(Series::new(variant.name(), points));
        }
    }
    let aims = AIMS
        .iter()
        .zip(0u32..)
        .map(|(aim, group)| (f64::from(group), *aim));
    series.push(Series::new("aim", aims));
    let aims = AIMS.map(|aim| Cell::Text(format!("(+{aim:.0})")));
    table.row("aim", aims.into_iter().chain([Cell::Empty, Cell::Empty]));
    let figure = Figure {
        file: "envoy-instructions",
        title: "Instructions that a request costs more than without a filter".into(),
        x: "native filters have no model gate; that of Lua takes the first \"model\" anywhere"
            .into(),
        y: "thousand instructions".into(),
        groups: Some(
            Workload::ACCEPTED
                .map(|workload| workload.short().to_owned())
                .into(),
        ),
        series,
    };
    Ok((table, figure))
}

/// Thousands of instructions a request, one number a workload.
async fn count_variant(
    settings: &Settings,
    variant: Variant,
    upstream: &Upstream,
) -> anyhow::Result<Vec<f64>> {
    let dir = TempDir::new()?;
    let out = format!(
        "--callgrind-out-file={}",
        dir.path().join("count").display()
    );
    let valgrind = [
        "valgrind",
        "--tool=callgrind",
        "--smc-check=all-non-file",
        "--instr-atstart=no",
        &out,
    ];
    let envoy = Envoy::start(
        variant
            .options(upstream.socket())
            .under(&valgrind, PATIENCE),
    )
    .await;
    variant.check(&envoy).await?;
    let mut totals = Vec::new();
    let mut counter = Counter {
        pid: envoy.pid(),
        dir: dir.path(),
        dumps: 0,
    };
    for workload in Workload::ALL {
        let mut counts = Vec::new();
        for _ in 0..settings.pick(REPEATS, 1) {
            counts.push(counter.count(&envoy, workload).await?);
        }
        totals.push(median(&counts) / 1000.0);
    }
    envoy.stop().await;
    Ok(totals)
}

/// What counts in a running Envoy.
struct Counter<'a> {
    pid: i32,
    dir: &'a Path,
    dumps: usize,
}

impl Counter<'_> {
    /// Instructions a request.
    async fn count(&mut self, envoy: &Envoy, workload: Workload) -> anyhow::Result<f64> {
        let mut client = envoy.connect(Version::H1).await;
        let requests = workload.sample();
        self.control("--instr=on")?;
        ask(&mut client, envoy, workload, requests / 5).await?;
        self.control("--zero")?;
        ask(&mut client, envoy, workload, requests).await?;
        self.control("--dump")?;
        self.control("--instr=off")?;
        self.dumps += 1;
        let dump = fs::read_to_string(self.dir.join(format!("count.{}", self.dumps)))?;
        let total = dump.lines().find_map(|line| line.strip_prefix("totals: "));
        let total: f64 = total
            .context("callgrind's dump has totals")?
            .trim()
            .parse()?;
        ensure!(total > 0.0, "callgrind has counted nothing");
        Ok(total / count(requests))
    }

    fn control(&self, order: &str) -> anyhow::Result<()> {
        let mut command = Command::new("callgrind_control");
        output(command.arg(order).arg(self.pid.to_string())).map(drop)
    }
}

/// A refusal may end the connection; then the next request has a new one.
async fn ask(
    client: &mut Client,
    envoy: &Envoy,
    workload: Workload,
    times: usize,
) -> anyhow::Result<()> {
    for _ in 0..times {
        if client.send(workload.request()).await.is_err() {
            *client = envoy.connect(Version::H1).await;
            client.send(workload.request()).await?;
        }
    }
    Ok(())
}
