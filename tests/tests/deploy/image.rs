//! The filter's OCI image, read back by others: tar takes the module out, skopeo checks every digest.
//! OCI image-spec 1.1, and the compat variant of Solo's Wasm Image Specification: one gzipped layer, `plugin.wasm`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::filter_wasm::filter_wasm;
use xtask::command::output;
use xtask::image::write_layout;

/// The tag, which is the version of the workspace.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A layout of the filter, and what its manifest's sum is said to be.
fn layout() -> (TempDir, String) {
    let dir = TempDir::new().expect("the temporary folder can be written");
    let wasm = fs::read(filter_wasm()).expect("the filter was built");
    let digest = write_layout(dir.path(), &wasm).expect("the folder is ours");
    (dir, digest)
}

fn json_of(path: PathBuf) -> Value {
    serde_json::from_slice(&fs::read(path).expect("it is there")).expect("it is JSON")
}

/// The file of a descriptor's blob.
fn blob(layout: &Path, descriptor: &Value) -> PathBuf {
    let digest = descriptor["digest"].as_str().expect("it has a digest");
    layout.join("blobs").join(digest.replace(':', "/"))
}

fn skopeo(arguments: &[&str]) -> Result<String, String> {
    let mut skopeo = Command::new("skopeo");
    output(skopeo.args(arguments)).map_err(|error| format!("{error:#}"))
}

#[test]
fn layer_contains_the_built_filter() {
    let (dir, digest) = layout();
    let index = json_of(dir.path().join("index.json"));
    let descriptor = &index["manifests"][0];
    assert_eq!(descriptor["digest"], format!("sha256:{digest}"));
    let manifest = json_of(blob(dir.path(), descriptor));
    let [layer] = &manifest["layers"].as_array().expect("it has layers")[..] else {
        panic!("Envoy Gateway wants one layer: {manifest}");
    };
    let mut tar = Command::new("tar");
    tar.args(["-xzf"]).arg(blob(dir.path(), layer));
    output(tar.arg("-C").arg(dir.path())).expect("tar reads it");
    let unpacked = fs::read(dir.path().join("plugin.wasm")).expect("plugin.wasm is in it");
    assert!(unpacked == fs::read(filter_wasm()).unwrap());
}

#[test]
fn manifest_has_the_media_types_istio_and_envoy_gateway_expect() {
    let (dir, digest) = layout();
    let image = format!("oci:{}:{VERSION}", dir.path().display());
    let raw = skopeo(&["inspect", "--raw", &image]).expect("skopeo reads it");
    let raw: Value = serde_json::from_str(&raw).expect("it is JSON");
    assert_eq!(
        raw["mediaType"],
        "application/vnd.oci.image.manifest.v1+json"
    );
    assert_eq!(
        raw["layers"][0]["mediaType"],
        "application/vnd.oci.image.layer.v1.tar+gzip"
    );
    assert_eq!(
        raw["annotations"],
        json!({
            "org.opencontainers.image.title": "codex-edge filter",
            "org.opencontainers.image.version": VERSION,
            "org.opencontainers.image.licenses": "Apache-2.0",
        })
    );
    let inspected = skopeo(&["inspect", &image]).expect("skopeo reads it");
    let inspected: Value = serde_json::from_str(&inspected).expect("it is JSON");
    assert_eq!(inspected["Digest"], format!("sha256:{digest}"));
    assert_eq!(
        (&inspected["Architecture"], &inspected["Os"]),
        (&json!("wasm"), &json!("wasip1"))
    );
}

/// skopeo hashes what it copies, compressed and not.
#[test]
fn modified_layer_fails_the_digest_check() {
    let (dir, _) = layout();
    let image = format!("oci:{}:{VERSION}", dir.path().display());
    let policy = dir.path().join("policy.json");
    fs::write(
        &policy,
        r#"{"default": [{"type": "insecureAcceptAnything"}]}"#,
    )
    .unwrap();
    let policy = format!("--policy={}", policy.display());
    let to = format!("dir:{}", dir.path().join("copy").display());
    skopeo(&[&policy, "copy", &image, &to]).expect("every digest is right");

    let index = json_of(dir.path().join("index.json"));
    let manifest = json_of(blob(dir.path(), &index["manifests"][0]));
    let layer = blob(dir.path(), &manifest["layers"][0]);
    let mut changed = fs::read(&layer).unwrap();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    fs::write(&layer, changed).unwrap();
    let to = format!("dir:{}", dir.path().join("changed").display());
    skopeo(&[&policy, "copy", &image, &to]).expect_err("the layer is not what its digest says");
}

#[test]
fn image_build_is_reproducible() {
    let (first, second) = (layout(), layout());
    assert_eq!(first.1, second.1);
    let index = |dir: &TempDir| fs::read(dir.path().join("index.json")).unwrap();
    assert_eq!(index(&first.0), index(&second.0));
}
