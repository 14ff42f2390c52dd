//! Where things are in the workspace: its root, and what cargo builds.
//! Follows cargo's own rules for `CARGO_TARGET_DIR`.

use std::env;
use std::path::{Path, PathBuf};

/// The folder of the workspace's `Cargo.toml`.
pub fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask
        .parent()
        .expect("this crate is a member folder of the workspace")
}

/// Where cargo puts what it builds.
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

/// A binary of the release profile.
pub fn release_binary(name: &str) -> PathBuf {
    target_dir().join("release").join(name)
}

/// `path` as seen from the current directory, made absolute.
pub(crate) fn absolute(path: PathBuf) -> PathBuf {
    // Fails only for an empty path or without a current directory; then the path is as good as it gets.
    std::path::absolute(&path).unwrap_or(path)
}
