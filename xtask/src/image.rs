//! `cargo xtask image`: the filter as an OCI image layout, for meshes and gateways that fetch wasm from a registry.
//! OCI image-layout and image-spec 1.1; the one gzipped layer with `plugin.wasm` is the compat variant of Solo's Wasm
//! Image Specification, which Istio and Envoy Gateway read.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use codex_edge::report;
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{build, workspace};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// The tag: the version of the workspace.
const TAG: &str = env!("CARGO_PKG_VERSION");

/// The arguments of `cargo xtask image`.
#[derive(Debug, Args)]
pub struct ImageArgs {
    /// Folder of the layout [default: filter-image in cargo's target folder]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

/// Builds the filter as it ships, writes its image, and prints how to push it and which sum belongs into the manifests.
///
/// # Errors
/// When the filter does not compile or the folder cannot be written.
pub fn image(args: &ImageArgs) -> Result<()> {
    build::filter()?;
    let wasm = workspace::filter_wasm();
    let wasm = fs::read(&wasm).with_context(|| format!("cannot read {}", wasm.display()))?;
    let dir = match &args.out {
        Some(dir) => workspace::absolute(dir.clone()),
        None => workspace::target_dir().join("filter-image"),
    };
    let digest = write_layout(&dir, &wasm)?;
    let shown = dir.display();
    report!("{shown}: image {TAG}, sha256 {digest}");
    report!("push it: skopeo copy oci:{shown}:{TAG} docker://REGISTRY/codex-edge-filter:{TAG}");
    report!("then put the sum into deploy/istio or deploy/envoy-gateway");
    Ok(())
}

/// Writes the image of `wasm` into `dir`, reproducibly, and returns the SHA-256 of its manifest.
///
/// # Errors
/// When the folder cannot be written.
pub fn write_layout(dir: &Path, wasm: &[u8]) -> Result<String> {
    let blobs = Blobs(dir.join("blobs/sha256"));
    fs::create_dir_all(&blobs.0).with_context(|| format!("cannot create {}", blobs.0.display()))?;
    let archive = archive(wasm)?;
    let layer = blobs.add(LAYER, &compress(&archive)?)?;
    let config = json!({
        "architecture": "wasm",
        "os": "wasip1",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(&archive)]},
    });
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": blobs.add(CONFIG, config.to_string().as_bytes())?,
        "layers": [layer],
        "annotations": {
            "org.opencontainers.image.title": "codex-edge filter",
            "org.opencontainers.image.version": TAG,
            "org.opencontainers.image.licenses": env!("CARGO_PKG_LICENSE"),
        },
    });
    let mut manifest = blobs.add(MANIFEST, manifest.to_string().as_bytes())?;
    let digest = hex_of(&manifest);
    manifest["annotations"] = json!({"org.opencontainers.image.ref.name": TAG});
    write(
        &dir.join("oci-layout"),
        br#"{"imageLayoutVersion":"1.0.0"}"#,
    )?;
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [manifest]});
    write(&dir.join("index.json"), index.to_string().as_bytes())?;
    Ok(digest)
}

/// The folder of the blobs; the name of each is its SHA-256.
struct Blobs(PathBuf);

impl Blobs {
    /// Writes a blob and returns its descriptor.
    fn add(&self, media_type: &str, content: &[u8]) -> Result<Value> {
        let descriptor = json!({
            "mediaType": media_type,
            "digest": digest_of(content),
            "size": content.len(),
        });
        write(&self.0.join(hex_of(&descriptor)), content)?;
        Ok(descriptor)
    }
}

/// Builds a tar archive that does not depend on the machine or the time.
fn archive(wasm: &[u8]) -> Result<Vec<u8>> {
    let mut header = tar::Header::new_ustar();
    header.set_size(u64::try_from(wasm.len())?);
    header.set_mode(0o644);
    header.set_mtime(0);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, "plugin.wasm", wasm)?;
    Ok(archive.into_inner()?)
}

fn compress(content: &[u8]) -> Result<Vec<u8>> {
    let mut gzip = GzBuilder::new().write(Vec::new(), Compression::best());
    std::io::Write::write_all(&mut gzip, content)?;
    Ok(gzip.finish()?)
}

fn digest_of(content: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(content)))
}

/// Returns the digest of a descriptor without its algorithm.
fn hex_of(descriptor: &Value) -> String {
    let digest = descriptor["digest"].as_str().unwrap_or_default();
    digest.trim_start_matches("sha256:").to_owned()
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}
