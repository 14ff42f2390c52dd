//! What our filter costs in Envoy, beside no filter, Envoy's native ones, and Lua that does the same.
//! All variants run the configuration that ships; only what stands in the filter's place differs.

use std::time::Duration;

use tests::envoy::Envoy;

use super::instructions;
use super::request_case::{Kind, Workload};
use super::upstream::Upstream;
use super::variant::Variant;
use crate::Settings;
use crate::client::{Door, closed_loop};
use crate::report::{Cell, Figure, Row, Section, Series, Table};
use crate::stats::{count, median, us};

/// Slices are short and many: what disturbs the machine for a second then disturbs every variant, or few slices.
const SLICE: Duration = Duration::from_millis(300);

/// Slices of each variant in a round.
const SLICES: usize = 4;

/// Connections of the load: enough that Envoy's one worker never waits for work.
const CLIENTS: usize = 16;

pub(in crate::suites) async fn run(settings: &Settings) -> anyhow::Result<Section> {
    let upstream = Upstream::start()?;
    let mut envoys = Vec::new();
    for variant in Variant::ALL {
        let envoy = Envoy::start(variant.options(upstream.socket())).await;
        variant.check(&envoy).await?;
        envoys.push((variant, envoy));
    }
    let mut tables = Vec::new();
    let mut series: Vec<_> = Variant::ALL.map(|variant| (variant, Vec::new())).into();
    for (workload, group) in Workload::ALL.into_iter().zip(0u32..) {
        let cells = measure(settings, &envoys, workload).await?;
        for ((_, points), cells) in series.iter_mut().zip(&cells) {
            points.extend(cells.as_ref().map(|cells| (f64::from(group), cells.rate)));
        }
        tables.push(table(workload, &envoys, &cells));
    }
    drop(envoys);
    let mut figures = vec![figure(series)];
    if settings.instructions {
        let (table, figure) = instructions::run(settings, &upstream).await?;
        tables.insert(0, table);
        figures.insert(0, figure);
    }
    Ok(Section {
        name: "envoy",
        tables,
        figures,
    })
}

/// Medians over the rounds.
struct Cells {
    rate: f64,
    /// Medians of the ratios within a round.
    share: f64,
    p50: f64,
    p99: f64,
    cpu: f64,
}

/// Every variant in turn, again and again; nothing where the variant does not do what the workload asks.
async fn measure(
    settings: &Settings,
    envoys: &[(Variant, Envoy)],
    workload: Workload,
) -> anyhow::Result<Vec<Option<Cells>>> {
    let mut slices: Vec<Vec<Cells>> = envoys.iter().map(|_| Vec::new()).collect();
    for slice_number in 0..settings.pick(settings.rounds() * SLICES, 1) + 1 {
        let mut base = None;
        for ((variant, envoy), slices) in envoys.iter().zip(&mut slices) {
            let Some(status) = workload.status(*variant) else {
                continue;
            };
            let cells = slice(settings, envoy, workload, status, base).await?;
            base.get_or_insert(cells.rate);
            // The first one warms up.
            if slice_number > 0 {
                slices.push(cells);
            }
        }
    }
    Ok(slices.iter().map(|slices| middle(slices)).collect())
}

async fn slice(
    settings: &Settings,
    envoy: &Envoy,
    workload: Workload,
    status: u16,
    base: Option<f64>,
) -> anyhow::Result<Cells> {
    let door = Door::Tcp(envoy.address());
    let before = crate::usage::cpu(envoy.pid());
    let time = settings.pick(SLICE, SLICE / 2);
    let request = move || workload.request();
    let load = closed_loop(&door, CLIENTS, time, request)
        .await?
        .all(status)?;
    let cpu = crate::usage::cpu(envoy.pid()).saturating_sub(before);
    Ok(Cells {
        rate: load.rate(),
        share: load.rate() / base.unwrap_or(load.rate()),
        p50: load.whole_ms(0.5),
        p99: load.whole_ms(0.99),
        cpu: us(cpu) / count(load.visits.len()),
    })
}

fn middle(slices: &[Cells]) -> Option<Cells> {
    let of = |value: fn(&Cells) -> f64| median(&slices.iter().map(value).collect::<Vec<_>>());
    (!slices.is_empty()).then(|| Cells {
        rate: of(|cells| cells.rate),
        share: of(|cells| cells.share),
        p50: of(|cells| cells.p50),
        p99: of(|cells| cells.p99),
        cpu: of(|cells| cells.cpu),
    })
}

fn table(workload: Workload, envoys: &[(Variant, Envoy)], cells: &[Option<Cells>]) -> Table {
    let columns = [
        "requests/s",
        "of none",
        "p50, ms",
        "p99, ms",
        "Envoy's CPU, µs a request",
    ];
    let mut table = Table::new(workload.title(), &columns);
    table.rows = envoys
        .iter()
        .zip(cells)
        .filter_map(|((variant, _), cells)| {
            let cells = cells.as_ref()?;
            let numbers = [cells.rate, cells.share, cells.p50, cells.p99, cells.cpu];
            Some(Row {
                name: workload.row(*variant),
                cells: numbers.map(Cell::from).into(),
            })
        })
        .collect();
    table
}

fn figure(series: Vec<(Variant, Vec<(f64, f64)>)>) -> Figure {
    let series = series
        .into_iter()
        .map(|(variant, points)| Series::new(variant.name(), points));
    Figure {
        file: "envoy-requests",
        title: "Requests a second through one Envoy worker".into(),
        x: "refused: a wrong key; without a filter it is forwarded".into(),
        y: "requests/s".into(),
        groups: Some(
            Workload::ALL
                .map(|workload| workload.short().to_owned())
                .into(),
        ),
        series: series.collect(),
    }
}

impl Workload {
    /// What the variant answers; nothing when it cannot do this.
    fn status(self, variant: Variant) -> Option<u16> {
        match (self.kind, variant) {
            (Kind::Accepted, _) => Some(200),
            // Without a filter a wrong key is nobody's business: this is what forwarding costs.
            (Kind::WrongKey, Variant::None) => Some(200),
            (Kind::WrongKey, _) => Some(401),
        }
    }

    fn row(self, variant: Variant) -> String {
        match (self.kind, variant) {
            (Kind::WrongKey, Variant::None) => "none, which forwards it".to_owned(),
            (Kind::WrongKey | Kind::Accepted, _) => variant.name().to_owned(),
        }
    }
}
