//! `cargo xtask dist`: the images as OCI layouts, read by skopeo, loaded into the engine and run, and their bills of materials.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;
use xtask::command::{cargo, output};
use xtask::tools::Tool;

use crate::stack::Stack;

const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(crate) fn layouts_of_a_release_run(stack: &Stack<'_>) {
    let dir = TempDir::new().expect("the temporary folder is writable");
    let dist = dir.path().join("dist");
    let mut xtask = cargo(&["xtask", "dist", "--without", "programs,filter"]);
    xtask
        .args(["--images", "envoy,model", "--out"])
        .arg(&dist)
        .envs(stack.build_environment());
    output(&mut xtask).unwrap_or_else(|error| panic!("{error:#}"));
    let mut sums = Command::new("sha256sum");
    sums.args(["--check", "--strict", "SHA256SUMS"]);
    let checked = output(sums.current_dir(&dist)).unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!(checked.lines().count(), 4, "{checked}");

    let model = Layout::unpack(&dist, "model");
    let help = model.run(stack, &["--help"]);
    assert!(help.contains("--allow-remote"), "{help}");
    let envoy = Layout::unpack(&dist, "envoy");
    let version = envoy.run(stack, &["--version"]);
    let pinned = Tool::Envoy.version().expect("Envoy is pinned");
    assert!(version.contains(&format!("/{pinned}/")), "{version}");

    for (name, present) in [
        ("model", ["libc6", "hyper"]),
        ("envoy", ["curl", "proxy-wasm"]),
    ] {
        let names = components(&dist, name);
        for component in present {
            assert!(
                names.contains(component),
                "{name} without {component}: {names:?}"
            );
        }
    }
    assert!(!components(&dist, "model").contains("proxy-wasm"));
}

/// The names in a bill of materials.
fn components(dist: &Path, image: &str) -> BTreeSet<String> {
    let file = format!("codex-edge-{image}-{}.cdx.json", std::env::consts::ARCH);
    let bill = fs::read(dist.join(file)).expect("the bill was written");
    let bill: Value = serde_json::from_slice(&bill).expect("the bill is JSON");
    let components = bill["components"].as_array().expect("a list").iter();
    components
        .filter_map(|component| component["name"].as_str())
        .map(str::to_owned)
        .collect()
}

/// An unpacked layout.
struct Layout {
    dir: TempDir,
    image: String,
}

impl Layout {
    fn unpack(dist: &Path, image: &str) -> Self {
        let dir = TempDir::new().expect("the temporary folder is writable");
        let archive = format!("codex-edge-{image}-{}.oci.tar", std::env::consts::ARCH);
        let mut tar = Command::new("tar");
        tar.arg("--extract").arg("--file").arg(dist.join(archive));
        output(tar.arg("--directory").arg(dir.path())).unwrap_or_else(|error| panic!("{error:#}"));
        Self {
            dir,
            image: format!("codex-edge-release-test/{image}:{VERSION}"),
        }
    }

    /// Loads the image into the engine, and runs it with arguments.
    fn run(&self, stack: &Stack<'_>, arguments: &[&str]) -> String {
        let archive = self.dir.path().join("docker.tar");
        let mut copy = Command::new("skopeo");
        copy.args(["copy", "--insecure-policy"])
            .arg(format!("oci:{}:{VERSION}", self.dir.path().display()))
            .arg(format!(
                "docker-archive:{}:{}",
                archive.display(),
                self.image
            ));
        output(&mut copy).unwrap_or_else(|error| panic!("{error:#}"));
        let archive = archive.to_string_lossy();
        stack.engine.docker(&["load", "--input", &archive]);
        let run = ["run", "--rm", "--network", "none", &self.image];
        let printed = stack.engine.docker(&[&run[..], arguments].concat());
        stack.engine.docker(&["image", "rm", &self.image]);
        printed
    }
}
