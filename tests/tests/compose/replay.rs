//! The `RUN` commands of the Dockerfile, run on this machine in temporary folders instead of those of the images.
//! The commands are unchanged except for paths; the installation of Debian packages and the creation of users are
//! left out.

use std::env::consts::ARCH;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use xtask::command::output;
use xtask::envoy_config::Placement;
use xtask::tools::{Tool, Tools};
use xtask::workspace;

use crate::dockerfile::Dockerfile;
use crate::image::is_in_context;

/// The folder of the wasm target below the target folder.
const WASM: &str = "wasm32-wasip1/wasm";

#[test]
fn build_stage_makes_its_artifacts_from_the_build_context() {
    let out = TempDir::new().unwrap();
    let target = workspace::target_dir();
    let script = script("build", "cargo build")
        .replace("/target/", &format!("{}/", target.display()))
        .replace("/out", &out.path().display().to_string());
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).current_dir(workspace::root());
    output(shell.env("CARGO_TARGET_DIR", &target)).unwrap();

    let mut artifacts: Vec<_> = fs::read_dir(out.path()).unwrap().flatten().collect();
    artifacts.sort_by_key(fs::DirEntry::file_name);
    let names: Vec<_> = artifacts.iter().map(fs::DirEntry::file_name).collect();
    assert_eq!(names, ["filter.wasm", "scripted-model", "sidecar"]);

    let dep_infos = [
        target.join(WASM).join("filter.d"),
        target.join("release/sidecar.d"),
        target.join("release/scripted-model.d"),
    ];
    let sources: Vec<_> = dep_infos.iter().flat_map(|path| sources_of(path)).collect();
    assert!(sources.len() > 50, "{sources:?}");
    for source in sources
        .iter()
        .map(String::as_str)
        .chain(["Cargo.lock", ".cargo/config.toml"])
    {
        assert!(
            is_in_context(source),
            "{source} is not in the build context"
        );
    }
}

/// Cargo reads the manifest of every workspace member, even when it builds only one of them.
#[test]
fn every_workspace_member_is_in_the_build_context() {
    let manifest = fs::read_to_string(workspace::root().join("Cargo.toml")).unwrap();
    let list = manifest
        .lines()
        .find_map(|line| line.strip_prefix("members = "))
        .expect("the members are on one line");
    let members: Vec<String> = serde_json::from_str(list).unwrap();
    assert!(members.len() > 4, "{members:?}");
    for member in members {
        for file in ["Cargo.toml", "src/lib.rs"] {
            let found = is_in_context(&format!("{member}/{file}"));
            assert!(found, "{member} is not in the build context");
        }
    }
}

#[test]
fn codex_stage_fetches_and_verifies_a_runnable_codex() {
    let image = TempDir::new().unwrap();
    let codex = image.path().join("codex");
    fs::create_dir(&codex).unwrap();
    let arch = match ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => panic!("unsupported architecture {other}"),
    };
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &script("codex", "npm pack")])
        .current_dir(&codex);
    output(shell.env("TARGETARCH", arch)).unwrap();
    let mut entries: Vec<_> = fs::read_dir(&codex)
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    entries.sort();
    assert_eq!(
        entries,
        ["bin", "codex-package.json", "codex-path", "codex-resources"]
    );

    let link = image.path().join("link");
    let script = script("sidecar", "ln -s")
        .replace("/opt/codex", &codex.display().to_string())
        .replace("/usr/local/bin/codex", &link.display().to_string());
    output(Command::new("sh").args(["-c", &script])).unwrap();
    let version = output(
        Command::new(link)
            .arg("--version")
            .env("CODEX_HOME", image.path()),
    )
    .unwrap();
    assert!(
        version.contains(Tool::Codex.version().unwrap()),
        "{version}"
    );
}

#[test]
fn unsupported_architecture_fails_the_codex_stage() {
    let image = TempDir::new().unwrap();
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &script("codex", "npm pack")])
        .current_dir(image.path());
    let error = output(shell.env("TARGETARCH", "s390x"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("no Codex is pinned for 's390x'"), "{error}");
}

#[test]
fn envoy_accepts_the_command_of_its_image() {
    let image = TempDir::new().unwrap();
    let mut placement = Placement::in_dir(image.path(), "127.0.0.1:11435".parse().unwrap());
    placement.filter_wasm = tests::filter_wasm::filter_wasm().to_owned();
    let bootstrap = image.path().join("envoy.yaml");
    placement
        .write(&workspace::configuration(), &bootstrap)
        .unwrap();
    let command = Dockerfile::read().command("envoy");
    let (program, arguments) = command.split_first().unwrap();
    assert_eq!(program, "codex-edge-envoy");
    let folder = image.path().display().to_string();
    let mut envoy = Command::new(workspace::root().join("deploy/docker/envoy.sh"));
    envoy
        .env("PATH", path_with_envoy())
        .args(
            arguments
                .iter()
                .map(|word| word.replace("/etc/codex-edge", &folder)),
        )
        .args(["--mode", "validate"])
        .env("PROXY_API_KEY", "any");
    output(&mut envoy).unwrap();
}

/// Returns the script of the only `RUN` instruction of a stage that contains `command`.
fn script(stage: &str, command: &str) -> String {
    let mut scripts = Dockerfile::read()
        .scripts(stage)
        .into_iter()
        .filter(|script| script.contains(command));
    let script = scripts
        .next()
        .unwrap_or_else(|| panic!("{stage} does not run `{command}`"));
    assert_eq!(scripts.next(), None, "{stage} runs `{command}` once");
    script
}

/// Returns the source files in the workspace that a dep-info file of cargo lists.
fn sources_of(dep_info: &Path) -> Vec<String> {
    let text = fs::read_to_string(dep_info)
        .unwrap_or_else(|error| panic!("{}: {error}", dep_info.display()));
    let (_, sources) = text.split_once(": ").expect("dep-info is a Makefile rule");
    let root = format!("{}/", workspace::root().display());
    sources
        .split_whitespace()
        .filter_map(|path| path.strip_prefix(&root))
        .map(str::to_owned)
        .collect()
}

/// Returns `PATH` with the folder of the pinned Envoy in front.
fn path_with_envoy() -> OsString {
    let envoy = Tools::open()
        .executable(Tool::Envoy)
        .expect("Envoy was fetched: `cargo xtask fetch`");
    let mut path = envoy.parent().expect("a folder").as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    path
}

/// The configuration of the service `admin` is complete: Envoy loads it.
#[test]
fn envoy_accepts_the_configuration_for_operators() {
    let config = workspace::root().join("deploy/docker/admin.yaml");
    let mut envoy = Command::new("envoy");
    envoy
        .arg("--config-path")
        .arg(config)
        .args(["--disable-hot-restart", "--mode", "validate"])
        .env("PATH", path_with_envoy());
    output(&mut envoy).unwrap();
}
