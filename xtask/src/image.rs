//! `cargo xtask image`: the filter as an OCI image layout, for meshes and gateways that fetch wasm from a registry.
//! The one gzipped layer with `plugin.wasm` is the compat variant of Solo's Wasm
//! Image Specification, which Istio and Envoy Gateway read.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use codex_edge::report;
use flate2::Compression;
use serde_json::json;

use crate::oci::{Layout, TAG};
use crate::{build, workspace};

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
    let mut layout = Layout::create(dir)?;
    let archive = archive(wasm)?;
    let diff_id = layout.add_layer(&archive[..], Compression::best())?;
    let config = json!({
        "architecture": "wasm",
        "os": "wasip1",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
    });
    let annotations = json!({
        "org.opencontainers.image.title": "codex-edge filter",
        "org.opencontainers.image.version": TAG,
        "org.opencontainers.image.licenses": env!("CARGO_PKG_LICENSE"),
    });
    layout.finish(config.to_string().as_bytes(), &annotations)
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
