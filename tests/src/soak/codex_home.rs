//! The files of `CODEX_HOME`: as many as after the start of all workers, plus the usage log, and bounded in size.
//! The contract's section 7: `CODEX_HOME` does not grow without bound.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::chaos::Report;
use crate::sidecar::Sidecar;

/// Bytes by which all files together may grow, without the usage log and the state.
const MAX_GROWTH: u64 = 64 << 10;

/// The files of the state: the database, its log of at most 1,000 pages of 4 KiB, and its shared memory.
const STATE: &str = "state.sqlite3";

/// Bytes that the files of the state may have.
const MAX_STATE: u64 = 6 << 20;

/// Files that the first turns may create: usage records, and a marker file of Codex.
const CREATED_BY_TURNS: [&str; 3] = ["usage.ndjson", "usage.ndjson.1", ".sandbox_migration"];

/// Folder in which Codex leaves a few links when it is killed while it removes the folder of another killed process. The
/// limit is the number of faults: the sidecar removes the links too, but checks only every ten minutes.
const LINKS: &str = "/.tmp/";

/// The files at one moment.
#[derive(Debug, Default)]
pub(super) struct CodexHome {
    /// Number of files by name; folders that each worker has share one name.
    files: BTreeMap<String, usize>,
    /// Total size in bytes, without the usage log and the state.
    bytes: u64,
    /// Size of the state in bytes.
    state: u64,
}

impl CodexHome {
    /// Lists the current files.
    pub(super) fn of(sidecar: &Sidecar) -> Self {
        let mut home = Self::default();
        home.add(&sidecar.dir().join("codex-home"), "");
        home
    }

    /// Checks that no files were added and that their size has not grown.
    pub(super) fn check(&self, sidecar: &Sidecar, report: &mut Report) {
        let now = Self::of(sidecar);
        let faults = report.faults();
        let is_more = |(name, count): &(&String, &usize)| {
            let before = self.files.get(*name).copied().unwrap_or_default();
            let links = if name.contains(LINKS) { faults } else { 0 };
            **count > before + links
        };
        let added: Vec<_> = now
            .files
            .iter()
            .filter(is_more)
            .filter(|(name, _)| !CREATED_BY_TURNS.contains(&&***name))
            .collect();
        if !added.is_empty() {
            report.add_violation(format!("files added to CODEX_HOME: {added:?}"));
        }
        report.add_count("files in CODEX_HOME, before", self.count());
        report.add_count("files in CODEX_HOME, after", now.count());
        report.add_count("bytes in CODEX_HOME, before", self.bytes);
        report.add_count("bytes in CODEX_HOME, after", now.bytes);
        report.add_count("bytes of the state", now.state);
        if now.state > MAX_STATE {
            report.add_violation(format!("the state has {} bytes", now.state));
        }
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
                    if name.starts_with(STATE) {
                        self.state += metadata.len();
                    } else if !name.starts_with("usage.ndjson") {
                        self.bytes += metadata.len();
                    }
                    *self.files.entry(name).or_default() += 1;
                }
                // Deleted after it was listed.
                Err(_) => {}
            }
        }
    }
}

/// The name without the random suffix of a worker's folder.
fn common(name: &str) -> &str {
    ["codex-arg0", ".tmp"]
        .into_iter()
        .find(|prefix| name.starts_with(prefix))
        .unwrap_or(name)
}
