//! Properties that hold for any input, one module for each parser of untrusted input.
//! libFuzzer searches for violations, starting from `seeds/` (`cargo xtask fuzz`); a test checks the seeds and mutations
//! of them.

mod filter_targets;
#[cfg(test)]
mod mutations;
mod sidecar_targets;

use filter_targets::{bucket, head, plugin, scanner};
use sidecar_targets::{app_server, bodies, flags, models, proto, trace, truncation, usage};

/// A fuzz target. Its seeds are in the folder of its name in `seeds/`.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The name.
    pub name: &'static str,
    /// Panics if the property does not hold for the input.
    pub check: fn(&[u8]),
}

/// All targets: first the filter's, then the sidecar's.
pub const TARGETS: [Target; 15] = [
    target("scanner", scanner::check),
    target("head", head::check),
    target("plugin", plugin::check),
    target("bucket", bucket::check),
    target("chat", bodies::check_chat),
    target("completions", bodies::check_completions),
    target("responses", bodies::check_responses),
    target("messages", bodies::check_messages),
    target("app_server", app_server::check),
    target("proto", proto::check),
    target("truncation", truncation::check),
    target("usage", usage::check),
    target("models", models::check),
    target("flags", flags::check),
    target("trace", trace::check),
];

const fn target(name: &'static str, check: fn(&[u8])) -> Target {
    Target { name, check }
}

/// The target with this name.
pub fn find(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::mutations::Mutations;

    /// Inputs for each target: few enough for every test run; libFuzzer runs more in a second.
    const INPUTS: usize = 2_000;

    fn seeds() -> PathBuf {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/seeds"))
    }

    fn seeds_of(target: &Target) -> Vec<Vec<u8>> {
        let mut files: Vec<_> = fs::read_dir(seeds().join(target.name))
            .unwrap()
            .map(|file| file.unwrap().path())
            .collect();
        files.sort();
        files.iter().map(|file| fs::read(file).unwrap()).collect()
    }

    #[test]
    fn targets_and_seed_folders_match() {
        let folders: BTreeSet<_> = fs::read_dir(seeds())
            .unwrap()
            .map(|folder| folder.unwrap().file_name().into_string().unwrap())
            .collect();
        let names: BTreeSet<_> = TARGETS
            .iter()
            .map(|target| target.name.to_owned())
            .collect();
        assert_eq!(folders, names);
        for target in TARGETS {
            assert!(!seeds_of(&target).is_empty(), "{}", target.name);
        }
    }

    /// The inputs are the same in every run, so that failures are reproducible.
    #[test]
    fn seeds_and_their_mutations_pass() {
        for target in TARGETS {
            let mut mutations = Mutations::of(seeds_of(&target));
            for seed in mutations.seeds() {
                (target.check)(seed);
            }
            for _ in 0..INPUTS {
                let input = mutations.next();
                let text = String::from_utf8_lossy(&input);
                let checked = std::panic::catch_unwind(|| (target.check)(&input));
                assert!(checked.is_ok(), "{}: {text:?}", target.name);
            }
        }
    }
}
