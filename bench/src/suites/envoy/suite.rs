//! The suite: throughput and latency, and on request instruction counts.

use super::upstream::Upstream;
use super::{instructions, throughput};
use crate::report::Section;
use crate::settings::Settings;

pub(in crate::suites) async fn run(settings: &Settings) -> anyhow::Result<Section> {
    let upstream = Upstream::start()?;
    let (mut tables, figure) = throughput::run(settings, &upstream).await?;
    let mut figures = vec![figure];
    if settings.instructions {
        // First on the page: instructions are the most reliable numbers.
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
