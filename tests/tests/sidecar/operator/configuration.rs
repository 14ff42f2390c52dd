//! The handwritten tables of the docs: flags of `cargo xtask up`, and the tested versions. Tests of the sidecar
//! generate and compare the tables of its flags; tests of the filter compare the tables of the filter.

use std::fs;
use std::process::Command;

use clap::Args;
use tests::sidecar::sidecar_binary;
use xtask::tools::Tool;
use xtask::up::UpArgs;
use xtask::workspace;

#[test]
fn configuration_page_lists_the_flags_of_up() {
    let page = fs::read_to_string(workspace::root().join("docs/configuration.md")).unwrap();
    let (_, section) = page.split_once("## `cargo xtask up`").unwrap();
    let up = UpArgs::augment_args(clap::Command::new("up"));
    let flags: Vec<_> = up.get_arguments().collect();
    assert!(flags.len() > 3, "{flags:?}");
    for flag in flags {
        let name = format!("`--{}`", flag.get_long().unwrap());
        let row = section
            .lines()
            .find(|line| line.contains(&name))
            .unwrap_or_else(|| panic!("{name} is missing on the page"));
        let variable = flag.get_env().map(|name| name.to_string_lossy());
        let defaults = flag
            .get_default_values()
            .iter()
            .map(|value| value.to_string_lossy());
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
fn version_names_the_tested_codex_versions() {
    let output = Command::new(sidecar_binary())
        .arg("--version")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for tool in [Tool::Codex, Tool::CodexOldest, Tool::CodexProto] {
        let version = tool.version().unwrap();
        assert!(text.contains(version), "{version}: {text}");
    }
}

#[test]
fn deployment_page_lists_the_pinned_versions() {
    let page = fs::read_to_string(workspace::root().join("docs/deployment.md")).unwrap();
    let (_, section) = page.split_once("## Tested versions").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    for (program, tool) in [
        ("Codex, `app-server`", Tool::Codex),
        ("Codex, `app-server`", Tool::CodexOldest),
        ("Codex, `proto`", Tool::CodexProto),
        ("Envoy", Tool::Envoy),
        ("Envoy", Tool::EnvoyOldest),
    ] {
        let row = format!("| {program} | {} |", tool.version().unwrap());
        assert!(section.contains(&row), "{row}");
    }
}
