//! The sidecar under test, built by cargo once per test process.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use xtask::{command, workspace};

/// Builds the sidecar if its build is outdated, and returns its path.
pub fn sidecar_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let build = ["build", "--quiet", "--package=sidecar"];
        command::run(&mut command::cargo(&build)).expect("the sidecar compiles");
        workspace::target_dir().join("debug/sidecar")
    })
}
