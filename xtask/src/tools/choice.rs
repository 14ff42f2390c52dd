//! Chooses the Envoy and the Codex of `up`.
//! The order is `ENVOY_BIN` or `CODEX_BIN`, `PATH` if the version is the pinned one, then `.tools/`.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{Tool, Tools};
use crate::command::output;
use crate::workspace;

/// An executable and the reason for the choice.
#[derive(Debug)]
pub struct Chosen {
    /// The executable; a bare name stands for the first match in PATH.
    pub path: PathBuf,
    /// A fragment for a line such as "envoy: {why}".
    pub why: String,
}

/// Chooses the executable named in the environment's `variable`, the one in PATH, or the fetched one of `tool`.
///
/// # Errors
/// When the named executable does not run, or the pinned one cannot be fetched.
pub fn choose(tools: &Tools, tool: Tool, variable: &str) -> Result<Chosen> {
    if let Some(path) = env::var_os(variable).filter(|path| !path.is_empty()) {
        return named(&path, variable);
    }
    let version = tool.version()?;
    let path = env::var_os("PATH").unwrap_or_default();
    if let Some(path) = in_path(tool.name(), version, &path) {
        let why = format!("{} ({version}, from PATH)", path.display());
        return Ok(Chosen { path, why });
    }
    tools.fetch(&[tool])?;
    Ok(Chosen {
        path: tools.executable(tool)?,
        why: format!("the pinned {version}, from {}", tools.dir().display()),
    })
}

fn named(path: &OsStr, variable: &str) -> Result<Chosen> {
    // A bare name stays as given: execvp(3) searches PATH for it, as a shell does.
    let path = match Path::new(path) {
        name if name.components().count() == 1 => name.to_owned(),
        path => workspace::absolute(path.to_owned()),
    };
    let version = version_line(&path).with_context(|| format!("{variable} cannot be used"))?;
    let why = format!("{} ({version}, from {variable})", path.display());
    Ok(Chosen { path, why })
}

fn in_path(name: &str, version: &str, path: &OsStr) -> Option<PathBuf> {
    env::split_paths(path)
        .map(|dir| workspace::absolute(dir.join(name)))
        .find(|file| file.is_file())
        .filter(|file| version_line(file).is_ok_and(|line| has_version(&line, version)))
}

fn version_line(path: &Path) -> Result<String> {
    Ok(output(Command::new(path).arg("--version"))?
        .trim()
        .to_owned())
}

/// Whether `line` has `version` as a word; Envoy writes the version between slashes, Codex after a space.
fn has_version(line: &str, version: &str) -> bool {
    line.split(|c: char| c.is_whitespace() || c == '/')
        .any(|word| word == version)
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn a_named_program_of_any_version_is_chosen_if_it_runs() {
        let dir = tempfile::tempdir().unwrap();
        let chosen = named(
            program(dir.path(), "echo codex-cli 0.42.0").as_os_str(),
            "CODEX_BIN",
        )
        .unwrap();
        assert!(
            chosen.why.contains("codex-cli 0.42.0, from CODEX_BIN"),
            "{}",
            chosen.why
        );
        let error = named(dir.path().join("missing").as_os_str(), "CODEX_BIN").unwrap_err();
        assert_eq!(error.to_string(), "CODEX_BIN cannot be used");
    }
}
