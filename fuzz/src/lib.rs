//! What has to hold for any input at all, of every parser that meets the outside: one module a parser.
//! Found by libFuzzer from `seeds/` on (`cargo xtask fuzz`), and held by a test for these seeds and what is near them.

mod app_server;
mod bodies;
mod bucket;
mod child;
mod cut;
mod flags;
mod head;
mod lines;
mod models;
#[cfg(test)]
mod near;
mod plugin;
mod proto;
mod scanner;
mod trace;
mod usage;

/// Something to attack. Its seeds are in the folder of its name in `seeds/`.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// What it is called.
    pub name: &'static str,
    /// Panics when the input shows a fault.
    pub check: fn(&[u8]),
}

/// All of them: first the filter's, then the sidecar's.
pub const TARGETS: [Target; 14] = [
    target("scanner", scanner::check),
    target("head", head::check),
    target("plugin", plugin::check),
    target("bucket", bucket::check),
    target("chat", bodies::check_chat),
    target("completions", bodies::check_completions),
    target("responses", bodies::check_responses),
    target("app_server", app_server::check),
    target("proto", proto::check),
    target("cut", cut::check),
    target("usage", usage::check),
    target("models", models::check),
    target("flags", flags::check),
    target("trace", trace::check),
];

const fn target(name: &'static str, check: fn(&[u8])) -> Target {
    Target { name, check }
}

/// The target of this name.
pub fn find(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::near::Neighbours;

    /// Inputs of each target. Few enough for every run of the tests; libFuzzer takes more in a second.
    const INPUTS: usize = 2_000;

    fn seeds() -> PathBuf {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/seeds"))
    }

    fn seeds_of(target: &Target) -> Vec<Vec<u8>> {
        let files = fs::read_dir(seeds().join(target.name)).unwrap();
        let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        files.sort();
        files.iter().map(|file| fs::read(file).unwrap()).collect()
    }

    #[test]
    fn every_target_has_seeds_and_every_seed_a_target() {
        let folders = fs::read_dir(seeds()).unwrap();
        let folders = folders.map(|folder| folder.unwrap().file_name().into_string().unwrap());
        let folders: BTreeSet<_> = folders.collect();
        let names: BTreeSet<_> = TARGETS
            .iter()
            .map(|target| target.name.to_owned())
            .collect();
        assert_eq!(folders, names);
        for target in TARGETS {
            assert!(!seeds_of(&target).is_empty(), "{}", target.name);
        }
    }

    /// The same inputs in every run, so that a failure is one that everybody sees.
    #[test]
    fn nothing_near_a_seed_shows_a_fault() {
        for target in TARGETS {
            let mut neighbours = Neighbours::of(seeds_of(&target));
            for seed in neighbours.seeds() {
                (target.check)(seed);
            }
            for _ in 0..INPUTS {
                let input = neighbours.next();
                let text = String::from_utf8_lossy(&input);
                let checked = std::panic::catch_unwind(|| (target.check)(&input));
                assert!(checked.is_ok(), "{}: {text:?}", target.name);
            }
        }
    }
}
