//! Bills of materials: the crates that are compiled into the programs and into the filter, and the other parts of an image.
//! CycloneDX 1.6 (JSON), from `cargo metadata`. The crate `cyclonedx-bom` models the whole standard and its XML form, of which
//! this needs a list and a graph; `cargo-cyclonedx` and `cargo-sbom` would be one more program to build before each release.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::file::VERSION;
use crate::command::{cargo, output};

/// The bill of the programs.
pub(super) fn of_programs(target: &str) -> Result<Vec<u8>> {
    bill(
        "codex-edge",
        target,
        &["codex-edge", "sidecar", "tests"],
        Vec::new(),
    )
}

/// The bill of the filter.
pub(super) fn of_filter() -> Result<Vec<u8>> {
    bill(
        "codex-edge-filter",
        "wasm32-wasip1",
        &["filter"],
        Vec::new(),
    )
}

/// The bill of an image with one package of the workspace, and with components that are not crates.
pub(super) fn of_image(
    name: &str,
    target: &str,
    root: &str,
    others: Vec<Value>,
) -> Result<Vec<u8>> {
    bill(name, target, &[root], others)
}

fn bill(name: &str, target: &str, roots: &[&str], others: Vec<Value>) -> Result<Vec<u8>> {
    let mut metadata = cargo(&["metadata", "--format-version=1", "--locked"]);
    // Without default features, the package with the scripted model has no wasm engine.
    metadata.args(["--no-default-features", "--filter-platform", target]);
    let metadata: Value = serde_json::from_str(&output(&mut metadata)?)?;
    let graph = CrateGraph::read(&metadata).context("cargo metadata lacks the graph")?;
    let text = serde_json::to_vec_pretty(&graph.bill(name, roots, others))?;
    Ok(text)
}

/// The packages by id, and what each of them links.
struct CrateGraph<'a> {
    packages: BTreeMap<&'a str, &'a Value>,
    links: BTreeMap<&'a str, Vec<&'a str>>,
}

impl<'a> CrateGraph<'a> {
    fn read(metadata: &'a Value) -> Option<Self> {
        let mut packages = BTreeMap::new();
        for package in metadata["packages"].as_array()? {
            packages.insert(package["id"].as_str()?, package);
        }
        let mut links = BTreeMap::new();
        for node in metadata["resolve"]["nodes"].as_array()? {
            let linked = node["deps"].as_array()?.iter().filter(|dep| is_linked(dep));
            let ids = linked.filter_map(|dep| dep["pkg"].as_str()).collect();
            links.insert(node["id"].as_str()?, ids);
        }
        Some(Self { packages, links })
    }

    fn bill(&self, name: &str, roots: &[&str], others: Vec<Value>) -> Value {
        let is_root = |id: &&str| {
            self.field(id, "name")
                .is_some_and(|name| roots.contains(&name))
        };
        let roots: Vec<&str> = self.packages.keys().copied().filter(is_root).collect();
        let reached = self.reached(&roots);
        let component = |id: &&str| self.component(id);
        let dependencies = reached.iter().map(|id| self.dependency(id));
        let linked = roots.iter().map(|id| Value::from(self.purl(id)));
        let installed = others.iter().map(|other| other["bom-ref"].clone());
        let whole = json!({
            "ref": name,
            "dependsOn": linked.chain(installed).collect::<Vec<_>>(),
        });
        json!({
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "version": 1,
            "metadata": {
                "component": {"type": "application", "bom-ref": name, "name": name, "version": VERSION},
            },
            "components": reached.iter().map(component).chain(others).collect::<Vec<_>>(),
            "dependencies": dependencies.chain([whole]).collect::<Vec<_>>(),
        })
    }

    /// The roots and everything that they link, directly or not.
    fn reached(&self, roots: &[&'a str]) -> BTreeSet<&'a str> {
        let mut reached = BTreeSet::new();
        let mut next = roots.to_vec();
        while let Some(id) = next.pop() {
            if reached.insert(id) {
                next.extend(self.linked(id));
            }
        }
        reached
    }

    fn linked(&self, id: &str) -> &[&'a str] {
        self.links.get(id).map_or(&[], Vec::as_slice)
    }

    fn component(&self, id: &str) -> Value {
        let mut component = json!({
            "type": "library",
            "bom-ref": self.purl(id),
            "name": self.field(id, "name"),
            "version": self.field(id, "version"),
            "purl": self.purl(id),
        });
        if let Some(license) = self.field(id, "license") {
            // Crates from before SPDX expressions separate alternatives by a slash.
            let expression = license.replace('/', " OR ");
            component["licenses"] = json!([{"expression": expression}]);
        }
        component
    }

    fn dependency(&self, id: &str) -> Value {
        let linked: BTreeSet<_> = self.linked(id).iter().map(|id| self.purl(id)).collect();
        json!({"ref": self.purl(id), "dependsOn": linked})
    }

    fn purl(&self, id: &str) -> String {
        let name = self.field(id, "name").unwrap_or_default();
        let version = self.field(id, "version").unwrap_or_default();
        format!("pkg:cargo/{name}@{version}")
    }

    fn field(&self, id: &str, field: &str) -> Option<&'a str> {
        self.packages.get(id)?[field].as_str()
    }
}

/// Whether a dependency is compiled in, and not only used by a build script or by tests.
fn is_linked(dependency: &Value) -> bool {
    let kinds = dependency["dep_kinds"].as_array();
    kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"].is_null()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bill_lists_linked_crates_and_no_tools_of_the_build() {
        let bill: Value = serde_json::from_slice(&of_filter().unwrap()).unwrap();
        let names: BTreeSet<_> = bill["components"]
            .as_array()
            .unwrap()
            .iter()
            .map(|component| component["name"].as_str().unwrap())
            .collect();
        assert!(
            names.contains("proxy-wasm") && names.contains("filter"),
            "{names:?}"
        );
        assert!(
            !names.contains("proptest") && !names.contains("tokio"),
            "{names:?}"
        );
    }
}
