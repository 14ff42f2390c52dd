//! The suite: latency, turns per second, open streams and slow readers.

use super::{latency, slow_readers, streams, turns};
use crate::report::Section;
use crate::settings::Settings;

pub(in crate::suites) async fn run(settings: &Settings) -> anyhow::Result<Section> {
    let mut tables = latency::run(settings).await?;
    tables.push(turns::run(settings).await?);
    let (table, figure) = streams::run(settings).await?;
    tables.push(table);
    tables.push(slow_readers::run(settings).await?);
    Ok(Section {
        name: "sidecar",
        tables,
        figures: vec![figure],
    })
}
