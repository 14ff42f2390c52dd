//! The suite: the end of streams with the real Codex, and the cost with the instant child.

use super::{cost, crossing};
use crate::report::Section;
use crate::settings::Settings;

pub(in crate::suites) async fn run(settings: &Settings) -> anyhow::Result<Section> {
    Ok(Section {
        name: "budgets",
        tables: vec![crossing::run(settings).await?, cost::run(settings).await?],
        figures: Vec::new(),
    })
}
