//! The workspace members of a checkout and the source roots of each.
//! Follows the output of `cargo metadata --format-version 1`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::command::{cargo, output};

/// A workspace member.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: String,
    /// Folder of the member's `Cargo.toml`.
    pub(super) dir: PathBuf,
    pub(super) targets: Vec<Target>,
}

/// A library, program, benchmark or integration test of a member.
#[derive(Debug)]
pub(super) struct Target {
    /// File at the root of the module tree.
    pub(super) root: PathBuf,
    pub(super) is_test: bool,
}

/// Lists the members of the workspace at `root`, by name.
pub(super) fn list(root: &Path) -> Result<Vec<Member>> {
    let mut metadata = cargo(&["metadata", "--no-deps", "--offline", "--format-version=1"]);
    let metadata = output(metadata.current_dir(root))?;
    let metadata: Value = serde_json::from_str(&metadata).context("cannot parse cargo metadata")?;
    let mut members = array(&metadata, "packages")
        .map(member)
        .collect::<Option<Vec<_>>>()
        .context("cargo metadata lacks a name or path of a package")?;
    members.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(members)
}

fn member(package: &Value) -> Option<Member> {
    let manifest = Path::new(package["manifest_path"].as_str()?);
    Some(Member {
        name: package["name"].as_str()?.to_owned(),
        dir: manifest.parent()?.to_owned(),
        targets: array(package, "targets")
            .map(target)
            .collect::<Option<_>>()?,
    })
}

fn target(target: &Value) -> Option<Target> {
    Some(Target {
        root: target["src_path"].as_str()?.into(),
        is_test: array(target, "kind").any(|kind| kind == "test"),
    })
}

fn array<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value[field].as_array().into_iter().flatten()
}
