//! Validates the Envoy configuration that ships, alone and with each overlay.

use std::fs;

use anyhow::{Context, Result};
use codex_edge::envoy_check;
use codex_edge::envoy_config::Placement;

use crate::tools::{Tool, Tools};
use crate::{build, workspace};

/// The overlays on `envoy.yaml`: for Envoys that share a rate limit, and for a tracer.
const OVERLAYS: [&str; 2] = ["deploy/ratelimit/envoy.yaml", "deploy/tracing/envoy.yaml"];

pub(super) fn configuration(tools: &Tools) -> Result<()> {
    build::filter()?;
    let dir = workspace::target_dir().join("envoy-check");
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let mut placement = Placement::in_dir(&dir, "127.0.0.1:11435".parse()?);
    placement.filter_wasm = workspace::filter_wasm();
    let bootstrap = dir.join("envoy.yaml");
    placement.write(&workspace::configuration(), &bootstrap)?;
    let envoy = tools.executable(Tool::Envoy)?;
    envoy_check::bootstrap(&envoy, &bootstrap, &[])?;
    for name in OVERLAYS {
        let path = workspace::root().join(name);
        let overlay =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        envoy_check::bootstrap(&envoy, &bootstrap, &["--config-yaml", &overlay])?;
    }
    envoy_check::filter(
        &envoy,
        &placement.filter_yaml,
        &dir.join("with-filter.yaml"),
    )
}
