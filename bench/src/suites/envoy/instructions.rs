//! Instructions that Envoy executes per request in user space, reproducible to about 1 % on a busy machine.
//!
//! Callgrind counts, switched on by `callgrind_control` after a warm-up. Requests are sequential, on one connection.
//!
//! Each variant runs in its own Envoy: V8 reserves 10 GiB of address space per wasm memory, and Valgrind limits the
//! address space.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use tempfile::TempDir;
use tests::envoy::Envoy;
use tests::http::{Client, Version};
use xtask::command::output;

use super::request_case::RequestCase;
use super::upstream::Upstream;
use super::variant::Variant;
use crate::plot::{Figure, Series};
use crate::report::{Cell, Table};
use crate::settings::Settings;
use crate::stats::{count, median};

/// Start timeout of an Envoy under Valgrind, which runs at a fiftieth of its speed.
const START_TIMEOUT: Duration = Duration::from_secs(300);

/// Number of counts, of which the median is reported.
const REPEATS: usize = 3;

/// Goals for the instructions that the filter adds, in thousands, in the order of [`RequestCase::ACCEPTED`].
const GOALS: [f64; 4] = [55.0, 75.0, 205.0, 2600.0];

/// Counts the instructions of every variant for every kind of request.
pub(super) async fn run(
    settings: &Settings,
    upstream: &Upstream,
) -> anyhow::Result<(Table, Figure)> {
    let columns = RequestCase::ALL.map(RequestCase::short_name);
    let mut table = Table::new(
        "Thousands of instructions per request in Envoy: total (difference from none)",
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
        if Variant::COMPARED.contains(&variant) && variant != Variant::None {
            // The figure shows accepted requests only: a rejection is cheaper than `none`, and a logarithmic axis cannot
            // show negative differences.
            let points = pairs()
                .take(GOALS.len())
                .zip(0u32..)
                .map(|((total, none), group)| (f64::from(group), total - none));
            series.push(Series::new(variant.name(), points));
        }
    }
    let points = GOALS
        .iter()
        .zip(0u32..)
        .map(|(goal, group)| (f64::from(group), *goal));
    series.push(Series::new("goal", points));
    let cells = GOALS.map(|goal| Cell::Text(format!("(+{goal:.0})")));
    table.row("goal", cells.into_iter().chain([Cell::Empty, Cell::Empty]));
    let figure = Figure {
        file: "envoy-instructions",
        title: "Instructions per request that the filters add".into(),
        x: "native filters do not check models; Lua uses the first \"model\" anywhere".into(),
        y: "thousand instructions".into(),
        groups: Some(
            RequestCase::ACCEPTED
                .map(|case| case.short_name().to_owned())
                .into(),
        ),
        series,
    };
    Ok((table, figure))
}

/// Returns thousands of instructions per request, one number per kind of request.
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
        // V8 generates code at run time, which Valgrind must translate again.
        "--smc-check=all-non-file",
        "--instr-atstart=no",
        &out,
    ];
    let envoy = Envoy::start(
        variant
            .options(upstream.socket())
            .wrapper(&valgrind, START_TIMEOUT),
    )
    .await;
    variant.check(&envoy).await?;
    let mut totals = Vec::new();
    let mut counter = InstructionCounter {
        pid: envoy.pid(),
        dir: dir.path(),
        dumps: 0,
    };
    for case in RequestCase::ALL {
        let mut counts = Vec::new();
        for _ in 0..settings.pick(REPEATS, 1) {
            counts.push(counter.count(&envoy, case).await?);
        }
        totals.push(median(&counts) / 1000.0);
    }
    envoy.stop().await;
    Ok(totals)
}

/// Control of callgrind in a running Envoy.
struct InstructionCounter<'a> {
    pid: i32,
    dir: &'a Path,
    /// Number of dumps so far; callgrind numbers its files.
    dumps: usize,
}

impl InstructionCounter<'_> {
    /// Returns the instructions per request.
    async fn count(&mut self, envoy: &Envoy, case: RequestCase) -> anyhow::Result<f64> {
        let mut client = envoy.connect(Version::H1).await;
        let requests = case.requests_per_count();
        // Callgrind translates code anew after the switch, so a warm-up comes before the counted requests.
        self.control("--instr=on")?;
        send(&mut client, envoy, case, requests / 5).await?;
        self.control("--zero")?;
        send(&mut client, envoy, case, requests).await?;
        self.control("--dump")?;
        self.control("--instr=off")?;
        self.dumps += 1;
        let dump = fs::read_to_string(self.dir.join(format!("count.{}", self.dumps)))?;
        let total: f64 = dump
            .lines()
            .find_map(|line| line.strip_prefix("totals: "))
            .context("callgrind's dump has no totals")?
            .trim()
            .parse()?;
        ensure!(total > 0.0, "callgrind counted 0 instructions");
        Ok(total / count(requests))
    }

    fn control(&self, action: &str) -> anyhow::Result<()> {
        let mut command = Command::new("callgrind_control");
        output(command.arg(action).arg(self.pid.to_string())).map(drop)
    }
}

/// Sends `times` requests. A rejection may close the connection; the next request then opens a new one.
async fn send(
    client: &mut Client,
    envoy: &Envoy,
    case: RequestCase,
    times: usize,
) -> anyhow::Result<()> {
    for _ in 0..times {
        if client.send(case.request()).await.is_err() {
            *client = envoy.connect(Version::H1).await;
            client.send(case.request()).await?;
        }
    }
    Ok(())
}
