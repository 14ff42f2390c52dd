//! Validates the Envoy configuration that ships, alone and with the overlay of a shared rate limit.

use std::fs;

use anyhow::{Context, Result};
use codex_edge::envoy_check;
use codex_edge::envoy_config::Placement;

use crate::tools::{Tool, Tools};
use crate::{build, workspace};

/// The overlay on `envoy.yaml` for Envoys that share a rate limit.
const SHARED_LIMIT: &str = "deploy/ratelimit/envoy.yaml";

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
    let overlay = workspace::root().join(SHARED_LIMIT);
    let overlay = fs::read_to_string(&overlay)
        .with_context(|| format!("cannot read {}", overlay.display()))?;
    envoy_check::bootstrap(&envoy, &bootstrap, &["--config-yaml", &overlay])?;
    envoy_check::filter(
        &envoy,
        &placement.filter_yaml,
        &dir.join("with-filter.yaml"),
    )
}
