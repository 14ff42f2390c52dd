//! Chooses the Envoy and the Codex of `up`.
//! The order is `ENVOY_BIN` or `CODEX_BIN`, `PATH` if the version is the pinned one, then `.tools/`.

use std::env;
use std::ffi::OsStr;
use std::path::PathBuf;

use anyhow::Result;
use codex_edge::program::{self, Program};

use super::{Tool, Tools};

/// Chooses the executable named in the environment's `variable`, the one in PATH, or the fetched one of `tool`.
///
/// # Errors
/// When the named executable does not run, or the pinned one cannot be fetched.
pub fn choose(tools: &Tools, tool: Tool, variable: &str) -> Result<Program> {
    if let Some(named) = Program::named(variable)? {
        return Ok(named);
    }
    let version = tool.version()?;
    let path = env::var_os("PATH").unwrap_or_default();
    if let Some(path) = in_path(tool.name(), version, &path) {
        let why = format!("{} ({version}, from PATH)", path.display());
        return Ok(Program { path, why });
    }
    tools.fetch(&[tool])?;
    Ok(Program {
        path: tools.executable(tool)?,
        why: format!("the pinned {version}, from {}", tools.dir().display()),
    })
}

fn in_path(name: &str, version: &str, path: &OsStr) -> Option<PathBuf> {
    program::find(name, path)
        .filter(|file| program::version(file).is_ok_and(|line| has_version(&line, version)))
}

/// Whether `line` has `version` as a word; Envoy writes the version between slashes, Codex after a space.
fn has_version(line: &str, version: &str) -> bool {
    line.split(|c: char| c.is_whitespace() || c == '/')
        .any(|word| word == version)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::command::write_program;

    #[test]
    fn a_version_matches_as_a_whole_word() {
        assert!(has_version("codex-cli 0.169.0", "0.169.0"));
        assert!(has_version(
            "envoy  version: 49f6/1.40.0/Clean/RELEASE/BoringSSL",
            "1.40.0"
        ));
        assert!(!has_version("codex-cli 0.169.01", "0.169.0"));
        assert!(!has_version("codex-cli 0.169.0-alpha.1", "0.169.0"));
    }

    fn program(dir: &Path, script: &str) -> PathBuf {
        let file = dir.join("codex");
        write_program(&file, &format!("#!/bin/sh\n{script}")).unwrap();
        file
    }

    #[test]
    fn only_the_pinned_version_is_chosen_from_path() {
        let dir = tempfile::tempdir().unwrap();
        let file = program(dir.path(), "echo codex-cli 0.169.0");
        let path = dir.path().as_os_str();
        assert_eq!(in_path("codex", "0.169.0", path), Some(file));
        assert_eq!(in_path("codex", "0.170.0", path), None);
        program(dir.path(), "echo codex-cli 0.169.0; exit 1");
        assert_eq!(in_path("codex", "0.169.0", path), None);
    }
}
