//! What is in Codex's home: as many files as when all workers stood, the usage log, and nothing that grows.
//! The contract's section 7: `CODEX_HOME` is kept from growing without bound.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::chaos::Report;
use crate::sidecar::Sidecar;

/// Bytes that files may have grown by together, the usage log aside.
const MAX_GROWTH: u64 = 64 << 10;

/// What the first turns may bring: their records, and a mark that Codex leaves.
const BROUGHT: [&str; 3] = ["usage.ndjson", "usage.ndjson.1", ".sandbox_migration"];

/// Where Codex leaves a few links when it is killed while it removes the folder of another that was killed. There may
/// be as many as there were faults: the sidecar removes them too, but looks only every ten minutes.
const CUT: &str = "/.tmp/";

/// The files that are there.
#[derive(Debug, Default)]
pub(super) struct Home {
    /// How often a name is there; a folder that each worker has has one name.
    files: BTreeMap<String, usize>,
    /// What they have together, the usage log aside.
    bytes: u64,
}

impl Home {
    /// What is there now.
    pub(super) fn of(sidecar: &Sidecar) -> Self {
        let mut home = Self::default();
        home.add(&sidecar.dir().join("codex-home"), "");
        home
    }

    /// Nothing came, and nothing grew.
    pub(super) fn check(&self, sidecar: &Sidecar, report: &mut Report) {
        let now = Self::of(sidecar);
        let kills = report.faults();
        let more = |(name, count): &(&String, &usize)| {
            let before = self.files.get(*name).copied().unwrap_or_default();
            let cut = if name.contains(CUT) { kills } else { 0 };
            **count > before + cut
        };
        let more = now.files.iter().filter(more);
        let more: Vec<_> = more
            .filter(|(name, _)| !BROUGHT.contains(&&***name))
            .collect();
        if !more.is_empty() {
            report.add_violation(format!("more in CODEX_HOME than before: {more:?}"));
        }
        report.add_count("files in CODEX_HOME, before", self.count());
        report.add_count("files in CODEX_HOME, after", now.count());
        report.add_count("bytes in CODEX_HOME, before", self.bytes);
        report.add_count("bytes in CODEX_HOME, after", now.bytes);
        if now.bytes > self.bytes + MAX_GROWTH {
            let (before, after) = (self.bytes, now.bytes);
            report.add_violation(format!("CODEX_HOME grew from {before} to {after} bytes"));
        }
    }

    fn count(&self) -> usize {
        self.files.values().sum()
    }

    fn add(&mut self, dir: &Path, name: &str) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = format!("{name}{}", common(&entry.file_name().to_string_lossy()));
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => self.add(&entry.path(), &format!("{name}/")),
                Ok(metadata) => {
                    if !name.starts_with("usage.ndjson") {
                        self.bytes += metadata.len();
                    }
                    *self.files.entry(name).or_default() += 1;
                }
                // It is gone already.
                Err(_) => {}
            }
        }
    }
}

/// The name without what makes a worker's folder its own.
fn common(name: &str) -> &str {
    let prefixes = ["codex-arg0", ".tmp"];
    let common = prefixes.into_iter().find(|prefix| name.starts_with(prefix));
    common.unwrap_or(name)
}
