//! docs/configuration.md, where its tables are written by hand: what `cargo xtask up` reads, and the Codex versions.
//! The sidecar's own tables are made from its flags and held there, the filter's by the filter.

use std::fs;
use std::process::Command;

use clap::Args;
use tests::sidecar::sidecar_binary;
use xtask::tools::Tool;
use xtask::up::UpArgs;
use xtask::workspace;

#[test]
fn the_page_has_what_up_reads() {
    let page = fs::read_to_string(workspace::root().join("docs/configuration.md")).unwrap();
    let (_, section) = page.split_once("## `cargo xtask up`").unwrap();
    let up = UpArgs::augment_args(clap::Command::new("up"));
    let flags: Vec<_> = up.get_arguments().collect();
    assert!(flags.len() > 3, "{flags:?}");
    for flag in flags {
        let name = format!("`--{}`", flag.get_long().unwrap());
        let row = section.lines().find(|line| line.contains(&name));
        let row = row.unwrap_or_else(|| panic!("{name} is not on the page"));
        let variable = flag.get_env().map(|name| name.to_string_lossy());
        let defaults = flag.get_default_values().iter();
        let defaults = defaults.map(|value| value.to_string_lossy());
        for part in variable.into_iter().chain(defaults) {
            let is_off = part == "false";
            assert!(
                is_off || row.contains(&format!("`{part}`")),
                "{part}: {row}"
            );
        }
    }
}

#[test]
fn the_version_names_the_codex_versions_that_are_tested() {
    let said = Command::new(sidecar_binary()).arg("--version").output();
    let said = String::from_utf8(said.unwrap().stdout).unwrap();
    for tool in [Tool::Codex, Tool::CodexProto] {
        let version = tool.version().unwrap();
        assert!(said.contains(&format!("{version} (")), "{version}: {said}");
    }
}
