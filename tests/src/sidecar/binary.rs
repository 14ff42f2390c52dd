//! The programs under test: the sidecar, built by cargo once per test process, and the Codex behind it.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use xtask::test::OLDEST_CODEX;
use xtask::tools::{Tool, Tools};
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

/// The Codex of the tests: the pinned one, or in the second run of `cargo xtask test` the oldest with an app-server.
pub fn codex_tool() -> Tool {
    if std::env::var_os(OLDEST_CODEX).is_some() {
        Tool::CodexOldest
    } else {
        Tool::Codex
    }
}

/// The path of the fetched `tool`, as text for a variable.
pub fn codex_binary(tool: Tool) -> String {
    Tools::open()
        .executable(tool)
        .expect("Codex was fetched: `cargo xtask fetch`")
        .to_string_lossy()
        .into_owned()
}
