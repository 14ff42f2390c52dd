//! The fetched program.

use xtask::test::OLDEST_CODEX;
use xtask::tools::{Tool, Tools};

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
