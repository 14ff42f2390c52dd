//! Throughput, latency and processor time of every variant, under a load that saturates one Envoy worker.

use std::time::Duration;

use tests::envoy::Envoy;

use super::request_case::RequestCase;
use super::upstream::Upstream;
use super::variant::Variant;
use crate::client::{Target, closed_loop};
use crate::plot::{Figure, Series};
use crate::report::{Cell, Row, Table};
use crate::settings::Settings;
use crate::stats::{count, median, us};
use crate::usage;

/// Time under load of one slice. Slices are short and many, so that a disturbance of a second affects every variant
/// alike, or few slices.
const SLICE: Duration = Duration::from_millis(300);

/// Slices of each variant in a round.
const SLICES: usize = 4;

/// Number of connections; enough that Envoy's single worker never waits for requests.
const CLIENTS: usize = 16;

type Envoys = [(Variant, Envoy)];

pub(super) async fn run(
    settings: &Settings,
    upstream: &Upstream,
) -> anyhow::Result<(Vec<Table>, Figure)> {
    let mut envoys = Vec::new();
    for variant in Variant::COMPARED {
        let envoy = Envoy::start(variant.options(upstream.socket())).await;
        variant.check(&envoy).await?;
        envoys.push((variant, envoy));
    }
    let mut tables = Vec::new();
    let mut series: Vec<_> = Variant::COMPARED
        .map(|variant| (variant, Vec::new()))
        .into();
    for (case, group) in RequestCase::ALL.into_iter().zip(0u32..) {
        let results = measure(settings, &envoys, case).await?;
        for ((_, points), result) in series.iter_mut().zip(&results) {
            points.push((f64::from(group), result.rate));
        }
        tables.push(create_table(case, &envoys, &results));
    }
    Ok((tables, create_figure(series)))
}

/// Result of one slice, or the medians over all slices of a variant.
struct SliceResult {
    /// Requests per second.
    rate: f64,
    /// Rate relative to the variant without a filter in the same round.
    relative_rate: f64,
    p50: f64,
    p99: f64,
    /// Processor time of Envoy per request, in microseconds.
    cpu: f64,
}

/// Measures all variants in turn, once per slice, and returns the medians of each variant.
async fn measure(
    settings: &Settings,
    envoys: &Envoys,
    case: RequestCase,
) -> anyhow::Result<Vec<SliceResult>> {
    let mut slices: Vec<Vec<SliceResult>> = envoys.iter().map(|_| Vec::new()).collect();
    for slice_number in 0..settings.pick(settings.rounds() * SLICES, 1) + 1 {
        // Set by the first variant, the one without a filter.
        let mut base_rate = None;
        for ((variant, envoy), results) in envoys.iter().zip(&mut slices) {
            let status = case.expected_status(*variant);
            let result = measure_slice(settings, envoy, case, status, base_rate).await?;
            base_rate.get_or_insert(result.rate);
            // The first slice warms up connections, buffers and V8's compiler.
            if slice_number > 0 {
                results.push(result);
            }
        }
    }
    Ok(slices.iter().map(|results| medians(results)).collect())
}

async fn measure_slice(
    settings: &Settings,
    envoy: &Envoy,
    case: RequestCase,
    expected_status: u16,
    base_rate: Option<f64>,
) -> anyhow::Result<SliceResult> {
    let target = Target::Tcp(envoy.address());
    let time = settings.pick(SLICE, SLICE / 2);
    let running = closed_loop(&target, CLIENTS, time, move || case.request());
    let (load, cpu_time) = usage::cpu_time_during(envoy.pid(), running).await;
    let load = load?.require_status(expected_status)?;
    Ok(SliceResult {
        rate: load.rate(),
        relative_rate: load.rate() / base_rate.unwrap_or(load.rate()),
        p50: load.total_ms(0.5),
        p99: load.total_ms(0.99),
        cpu: us(cpu_time) / count(load.samples.len()),
    })
}

fn medians(slices: &[SliceResult]) -> SliceResult {
    let of = |value: fn(&SliceResult) -> f64| median(&slices.iter().map(value).collect::<Vec<_>>());
    SliceResult {
        rate: of(|slice| slice.rate),
        // The median of ratios, rather than the ratio of medians: both rates of a ratio are from the same round.
        relative_rate: of(|slice| slice.relative_rate),
        p50: of(|slice| slice.p50),
        p99: of(|slice| slice.p99),
        cpu: of(|slice| slice.cpu),
    }
}

fn create_table(case: RequestCase, envoys: &Envoys, results: &[SliceResult]) -> Table {
    let columns = [
        "requests/s",
        "relative to none",
        "p50, ms",
        "p99, ms",
        "Envoy CPU, µs per request",
    ];
    let mut table = Table::new(case.title(), &columns);
    table.rows = envoys
        .iter()
        .zip(results)
        .map(|((variant, _), result)| {
            let numbers = [
                result.rate,
                result.relative_rate,
                result.p50,
                result.p99,
                result.cpu,
            ];
            Row {
                name: case.row_name(*variant).to_owned(),
                cells: numbers.map(Cell::from).into(),
            }
        })
        .collect();
    table
}

fn create_figure(series: Vec<(Variant, Vec<(f64, f64)>)>) -> Figure {
    let series = series
        .into_iter()
        .map(|(variant, points)| Series::new(variant.name(), points))
        .collect();
    Figure {
        file: "envoy-requests",
        title: "Requests per second through one Envoy worker".into(),
        x: "rejected: a wrong key; without a filter the request is forwarded".into(),
        y: "requests/s".into(),
        groups: Some(
            RequestCase::ALL
                .map(|case| case.short_name().to_owned())
                .into(),
        ),
        series,
    }
}
