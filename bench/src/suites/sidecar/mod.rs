//! What the sidecar itself costs, beside a bare loop that reads the same pipe of the same child.
//! The child is `instant-codex`, a stand-in that answers at once; both ends read its stamps off one clock.

mod latency;
mod slow_readers;
mod streams;
mod turns;

use crate::Settings;
use crate::report::Section;

pub(super) async fn run(settings: &Settings) -> anyhow::Result<Section> {
    let mut tables = latency::run(settings).await?;
    tables.push(turns::run(settings).await?);
    let (streams, figure) = streams::run(settings).await?;
    tables.push(streams);
    tables.push(slow_readers::run(settings).await?);
    Ok(Section {
        name: "sidecar",
        tables,
        figures: vec![figure],
    })
}
