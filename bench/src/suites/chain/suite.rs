//! The tables of the chain.

use super::{instant_child, real_codex};
use crate::report::Section;
use crate::settings::Settings;

pub(in crate::suites) async fn run(settings: &Settings) -> anyhow::Result<Section> {
    let (turns, figure) = real_codex::run(settings).await?;
    let mut tables = vec![turns];
    tables.extend(instant_child::run(settings).await?);
    Ok(Section {
        name: "chain",
        tables,
        figures: vec![figure],
    })
}
