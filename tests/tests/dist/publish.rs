//! The scripts that publish a release, replayed over the built files. Programs that talk to the registry, to Sigstore and to
//! the repository's host are replaced by one that writes its command line down, and fails for a local file that is missing.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;
use xtask::command::{output, write_program};
use xtask::workspace;

use crate::release::Release;
use crate::workflow::{jobs, steps};

const TAG: &str = concat!("v", env!("CARGO_PKG_VERSION"));

const RECORDER: &str = r#"#!/bin/bash
name="${0##*/}"
echo "$name $*" >>"$CALLS"
for argument; do
    case "$argument" in
    oci-archive:*) path="${argument#oci-archive:}" ;;
    oci:*) path="${argument#oci:}"; path="${path%:*}/index.json" ;;
    dist/* | SHA256SUMS) path="$argument" ;;
    *) continue ;;
    esac
    test -f "$path" || { echo "missing: $path" >&2; exit 1; }
done
case "$name $*" in
"skopeo inspect"*) echo sha256:of-the-pushed ;;
"cosign sign-blob"*) touch "${@: -2:1}" ;;
esac"#;

/// A folder as the job `publish` finds it, after its downloads.
struct Publication {
    folder: TempDir,
}

impl Publication {
    fn new() -> Self {
        let folder = TempDir::new().expect("the temporary folder can be written");
        let (dist, bin) = (folder.path().join("dist"), folder.path().join("bin"));
        for dir in [&dist, &bin] {
            fs::create_dir(dir).expect("the folder is writable");
        }
        fs::copy(
            workspace::root().join("Cargo.toml"),
            folder.path().join("Cargo.toml"),
        )
        .expect("the workspace has a manifest");
        for entry in fs::read_dir(Release::get().dist()).expect("the release was built") {
            let file = entry.expect("the folder is readable").path();
            let name = file.file_name().expect("a file has a name");
            if name != "SHA256SUMS" {
                fs::copy(&file, dist.join(name)).expect("the folder is writable");
            }
        }
        for image in images() {
            fs::write(dist.join(image), "").expect("the folder is writable");
        }
        write_program(&bin.join("recorder"), RECORDER).expect("the folder is writable");
        for program in ["cosign", "docker", "gh", "skopeo"] {
            symlink("recorder", bin.join(program)).expect("the folder is writable");
        }
        Self { folder }
    }

    /// Runs the scripts of a job, and returns the command lines that were written down.
    fn replay(&self, job: &Value) -> String {
        let calls = self.folder.path().join("calls");
        let path = format!(
            "{}:{}",
            self.folder.path().join("bin").display(),
            std::env::var("PATH").expect("PATH is set")
        );
        for script in steps(job).filter_map(|step| step["run"].as_str()) {
            let mut bash = Command::new("bash");
            bash.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", script])
                .current_dir(self.folder.path())
                .env("PATH", &path)
                .env("CALLS", &calls)
                .env("TAG", TAG)
                .env("REGISTRY", "registry.example/Owner");
            output(&mut bash).unwrap_or_else(|error| panic!("{error:#}"));
        }
        fs::read_to_string(&calls).unwrap_or_default()
    }
}

/// The names of the images' layouts and bills of materials, as the job `images` uploads them.
fn images() -> Vec<String> {
    let mut names = Vec::new();
    for target in ["envoy", "sidecar", "sidecar-demo", "model"] {
        for arch in ["x86_64", "aarch64"] {
            for end in ["oci.tar", "cdx.json"] {
                names.push(format!("codex-edge-{target}-{arch}.{end}"));
            }
        }
    }
    names
}

fn sums_hold(dist: &Path) {
    let mut check = Command::new("sha256sum");
    check.args(["--check", "--strict", "SHA256SUMS"]);
    let checked = output(check.current_dir(dist)).unwrap_or_else(|error| panic!("{error:#}"));
    for name in images().iter().map(String::as_str).chain([".whl: OK"]) {
        assert!(checked.contains(name), "{name}: {checked}");
    }
}

#[test]
fn every_file_is_summed_and_every_image_pushed_and_signed() {
    let publication = Publication::new();
    let calls = publication.replay(&jobs()["publish"]);
    sums_hold(&publication.folder.path().join("dist"));
    let version = TAG.trim_start_matches('v');
    for name in ["envoy", "sidecar", "sidecar-demo", "model", "filter"] {
        let image = format!("registry.example/owner/codex-edge-{name}");
        for line in [
            format!(" docker://{image}:{version}"),
            format!("cosign sign --yes {image}@sha256:of-the-pushed\n"),
        ] {
            assert!(calls.contains(&line), "{line}:\n{calls}");
        }
    }
    let attested =
        calls.matches("cosign attest --yes --type cyclonedx --predicate dist/codex-edge-");
    assert_eq!(attested.count(), 8, "{calls}");
    let release = calls.lines().last().expect("the release is the last call");
    assert!(
        release.starts_with(&format!("gh release create {TAG} "))
            && release.contains(".sigstore.json"),
        "{release}"
    );
    for file in [
        ".whl",
        "-linux.tar.gz",
        ".oci.tar.gz",
        ".wasm",
        ".cdx.json",
        "SHA256SUMS",
    ] {
        assert!(release.contains(file), "{file}: {release}");
    }
}

#[test]
fn only_wheels_are_published_to_the_index() {
    let publication = Publication::new();
    let folder = publication.folder.path();
    fs::rename(folder.join("dist"), folder.join("downloaded")).expect("the folder is writable");
    publication.replay(&jobs()["pypi"]);
    let kept: Vec<_> = fs::read_dir(folder.join("dist"))
        .expect("the script makes the folder")
        .map(|entry| entry.expect("the folder is readable").path())
        .collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(
        kept[0].extension().and_then(|end| end.to_str()),
        Some("whl")
    );
}
