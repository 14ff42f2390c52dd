//! The filter's OCI image, read by other programs: tar extracts the module, and skopeo verifies every digest.
//! Follows OCI image-spec 1.1 and the compat variant of Solo's Wasm Image Specification: one gzipped layer with
//! `plugin.wasm`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::filter_wasm::filter_wasm;
use xtask::command::output;
use xtask::image::write_layout;

/// The tag of the image, which is the version of the workspace.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Writes an OCI layout of the filter. Returns the folder and the digest of the manifest.
fn layout() -> (TempDir, String) {
    let dir = TempDir::new().expect("the temporary folder can be written");
    let wasm = fs::read(filter_wasm()).expect("the filter was built");
    let digest = write_layout(dir.path(), &wasm).expect("the folder is writable");
    (dir, digest)
}

fn json_of(path: PathBuf) -> Value {
    let text = fs::read(path).expect("the file exists");
    serde_json::from_slice(&text).expect("the file is JSON")
}

/// Returns the path of the blob of a descriptor.
fn blob(layout: &Path, descriptor: &Value) -> PathBuf {
    let digest = descriptor["digest"]
        .as_str()
        .expect("a descriptor has a digest");
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
    let [layer] = &manifest["layers"]
        .as_array()
        .expect("a manifest has layers")[..]
    else {
        panic!("Envoy Gateway requires one layer: {manifest}");
    };
    let mut tar = Command::new("tar");
    tar.args(["-xzf"]).arg(blob(dir.path(), layer));
    output(tar.arg("-C").arg(dir.path())).expect("tar extracts the layer");
    let unpacked = fs::read(dir.path().join("plugin.wasm")).expect("the layer has plugin.wasm");
    assert!(unpacked == fs::read(filter_wasm()).unwrap());
}

#[test]
fn manifest_has_the_media_types_istio_and_envoy_gateway_expect() {
    let (dir, digest) = layout();
    let image = format!("oci:{}:{VERSION}", dir.path().display());
    let raw = skopeo(&["inspect", "--raw", &image]).expect("skopeo reads the manifest");
    let manifest: Value = serde_json::from_str(&raw).expect("the manifest is JSON");
    assert_eq!(
        manifest["mediaType"],
        "application/vnd.oci.image.manifest.v1+json"
    );
    assert_eq!(
        manifest["layers"][0]["mediaType"],
        "application/vnd.oci.image.layer.v1.tar+gzip"
    );
    assert_eq!(
        manifest["annotations"],
        json!({
            "org.opencontainers.image.title": "codex-edge filter",
            "org.opencontainers.image.version": VERSION,
            "org.opencontainers.image.licenses": "Apache-2.0",
        })
    );
    let output = skopeo(&["inspect", &image]).expect("skopeo reads the image");
    let inspected: Value = serde_json::from_str(&output).expect("skopeo writes JSON");
    assert_eq!(inspected["Digest"], format!("sha256:{digest}"));
    assert_eq!(
        (&inspected["Architecture"], &inspected["Os"]),
        (&json!("wasm"), &json!("wasip1"))
    );
}

/// skopeo verifies the digests of the compressed and the uncompressed layer while it copies an image.
#[test]
fn modified_layer_fails_the_digest_check() {
    let (dir, _) = layout();
    let image = format!("oci:{}:{VERSION}", dir.path().display());
    let policy_file = dir.path().join("policy.json");
    fs::write(
        &policy_file,
        r#"{"default": [{"type": "insecureAcceptAnything"}]}"#,
    )
    .unwrap();
    let policy = format!("--policy={}", policy_file.display());
    let copy = format!("dir:{}", dir.path().join("copy").display());
    skopeo(&[&policy, "copy", &image, &copy]).expect("every digest is right");

    let index = json_of(dir.path().join("index.json"));
    let manifest = json_of(blob(dir.path(), &index["manifests"][0]));
    let layer = blob(dir.path(), &manifest["layers"][0]);
    let mut changed = fs::read(&layer).unwrap();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    fs::write(&layer, changed).unwrap();
    let copy = format!("dir:{}", dir.path().join("changed").display());
    skopeo(&[&policy, "copy", &image, &copy]).expect_err("the layer does not match its digest");
}

#[test]
fn image_build_is_reproducible() {
    let (first, second) = (layout(), layout());
    assert_eq!(first.1, second.1);
    let index = |dir: &TempDir| fs::read(dir.path().join("index.json")).unwrap();
    assert_eq!(index(&first.0), index(&second.0));
}
