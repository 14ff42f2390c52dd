//! Paths in the workspace: the root, and the files that cargo builds.
//! Follows cargo's rules for `CARGO_TARGET_DIR`.

use std::env;
use std::path::{Path, PathBuf};

pub(crate) use codex_edge::program::absolute;

/// The folder of the workspace's `Cargo.toml`.
pub fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask
        .parent()
        .expect("this crate is a member folder of the workspace")
}

/// Cargo's target folder.
pub fn target_dir() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => absolute(dir.into()),
        None => root().join("target"),
    }
}

/// The filter as it ships: [`built_filter_wasm`] without the callbacks that it does not implement.
pub fn filter_wasm() -> PathBuf {
    target_dir().join("shipped/filter.wasm")
}

/// The filter as cargo builds it with the profile `wasm`.
pub fn built_filter_wasm() -> PathBuf {
    target_dir().join("wasm32-wasip1/wasm/filter.wasm")
}

/// The folder of the configurations that ship.
pub fn configuration() -> PathBuf {
    root().join("envoy")
}

/// A binary of the release profile.
pub fn release_binary(name: &str) -> PathBuf {
    target_dir().join("release").join(name)
}
