//! Paths in the workspace: the root, and the files that cargo builds.
//! Follows cargo's rules for `CARGO_TARGET_DIR`.

use std::env;
use std::path::{Path, PathBuf};

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

/// A binary of the release profile.
pub fn release_binary(name: &str) -> PathBuf {
    target_dir().join("release").join(name)
}

/// Makes `path` absolute, from the current directory.
pub(crate) fn absolute(path: PathBuf) -> PathBuf {
    // Fails only for an empty path or without a current directory; the caller's error then names the path as given.
    std::path::absolute(&path).unwrap_or(path)
}
