//! The compiled filter, built once for all tests of a run.
//! Follows `.cargo/config.toml` and the profile `wasm` in the workspace's `Cargo.toml`.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use xtask::{command, workspace};

/// Builds the filter if it is not fresh, and returns the path of its module.
pub fn filter_wasm() -> &'static Path {
    static MODULE: OnceLock<PathBuf> = OnceLock::new();
    MODULE.get_or_init(|| {
        let build = [
            "build",
            "--quiet",
            "--package=filter",
            "--target=wasm32-wasip1",
            "--profile=wasm",
        ];
        command::run(&mut command::cargo(&build)).expect("the filter compiles");
        workspace::filter_wasm()
    })
}
