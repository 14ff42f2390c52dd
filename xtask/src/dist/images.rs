//! The images of the `Dockerfile` as OCI layouts, built by Docker Compose in the engine of `DOCKER_HOST`.
//! `COMPOSE_FILE` adds compose files to `docker-compose.yml`, which may name other base images.

use std::env::consts::ARCH;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use codex_edge::report;
use flate2::Compression;
use serde_json::{Value, json};

use super::file::{VERSION, write};
use super::saved_image::SavedImage;
use super::{archive, packages, sbom};
use crate::command::{output, run};
use crate::oci::Layout;
use crate::tools::{Tool, Tools};
use crate::workspace;

/// The project of Compose: its images are named after it.
const PROJECT: &str = "codex-edge-dist";

/// An image of the `Dockerfile`: a target of it, and the service of `docker-compose.yml` that builds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Image {
    Envoy,
    Sidecar,
    SidecarDemo,
    Model,
}

impl Image {
    fn name(self) -> &'static str {
        match self {
            Self::Envoy => "envoy",
            Self::Sidecar => "sidecar",
            Self::SidecarDemo => "sidecar-demo",
            Self::Model => "model",
        }
    }

    /// Returns the bill of materials: the crates of its program, the packages of its distribution, and the
    /// third-party program.
    fn bill(self, saved: &SavedImage) -> Result<Vec<u8>> {
        let mut others = packages::installed(saved)?;
        let (target, root) = match self {
            Self::Envoy => {
                let version = Tool::Envoy.version()?;
                let purl = format!("pkg:github/envoyproxy/envoy@v{version}");
                others.push(packages::component("envoy", version, &purl));
                ("wasm32-wasip1".to_owned(), "filter")
            }
            Self::Sidecar | Self::SidecarDemo => {
                let version = Tool::Codex.version()?;
                let purl = format!("pkg:npm/%40openai/codex@{version}");
                others.push(packages::component("codex", version, &purl));
                (linux_gnu(), "sidecar")
            }
            Self::Model => (linux_gnu(), "tests"),
        };
        let name = format!("codex-edge-{}", self.name());
        sbom::of_image(&name, &target, root, others)
    }
}

fn linux_gnu() -> String {
    format!("{ARCH}-unknown-linux-gnu")
}

/// Builds the images, and writes `codex-edge-TARGET-ARCH.oci.tar` and `.cdx.json` of each into `out`.
///
/// # Errors
/// When no engine can be reached, or an image does not build for this machine's architecture.
pub(super) fn write_images(out: &Path, images: &[Image]) -> Result<()> {
    let tools = Tools::open();
    tools.fetch(&[Tool::Compose])?;
    output(Command::new("docker").arg("version"))
        .context("the images need a container engine: start Docker, or set DOCKER_HOST, or leave them out with --without images")?;
    let mut build = Command::new(tools.executable(Tool::Compose)?);
    build
        .current_dir(workspace::root())
        // A key for the start, which Compose asks for in any case.
        .env("PROXY_API_KEY", "not-used-by-a-build")
        .args(["--project-name", PROJECT, "build", "--quiet"])
        .args(images.iter().map(|image| image.name()));
    run(&mut build)?;
    for image in images {
        write_image(out, *image)?;
    }
    Ok(())
}

fn write_image(out: &Path, image: Image) -> Result<()> {
    let name = format!("codex-edge-{}-{ARCH}", image.name());
    // In `out`, whose file system has room for the image.
    let temporary = tempfile::tempdir_in(out)?;
    let archive = temporary.path().join("saved.tar");
    let built = format!("{PROJECT}-{}", image.name());
    let mut save = Command::new("docker");
    save.args(["save", "--output"]).arg(&archive).arg(&built);
    output(&mut save)?;
    let saved = SavedImage::open(&archive)?;
    let layout = temporary.path().join("layout");
    write_layout(&layout, image, &saved)?;
    archive::write_folder(&out.join(format!("{name}.oci.tar")), &layout)?;
    write(&out.join(format!("{name}.cdx.json")), &image.bill(&saved)?)?;
    report!("{name}.oci.tar: image {VERSION}");
    Ok(())
}

fn write_layout(dir: &Path, image: Image, saved: &SavedImage) -> Result<()> {
    let config: Value = serde_json::from_slice(&saved.config)?;
    let expected = config["rootfs"]["diff_ids"]
        .as_array()
        .context("the image has no list of layers")?;
    ensure!(
        expected.len() == saved.layers.len(),
        "the archive of the engine lacks a layer"
    );
    let mut layout = Layout::create(dir)?;
    for (layer, expected) in saved.layers.iter().zip(expected) {
        if saved.is_compressed(*layer)? {
            layout.add_compressed_layer(saved.read(*layer)?)?;
        } else {
            let digest = layout.add_layer(saved.read(*layer)?, Compression::default())?;
            ensure!(
                *expected == digest,
                "a layer was changed: {expected}, not {digest}"
            );
        }
    }
    let annotations = json!({
        "org.opencontainers.image.title": format!("codex-edge {}", image.name()),
        "org.opencontainers.image.version": VERSION,
        "org.opencontainers.image.licenses": env!("CARGO_PKG_LICENSE"),
    });
    layout.finish(&saved.config, &annotations)?;
    Ok(())
}
