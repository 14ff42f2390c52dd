//! Programs of other projects: named in a variable, or found in `PATH`.

use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::output;

/// An executable and the reason for the choice.
#[derive(Debug)]
pub struct Program {
    /// The executable; a bare name stands for the first match in PATH.
    pub path: PathBuf,
    /// A fragment for a line such as "envoy: {why}".
    pub why: String,
}

impl Program {
    /// The program named in the environment's `variable`; `None` when the variable is empty or unset.
    ///
    /// # Errors
    /// When the program does not run.
    pub fn named(variable: &str) -> Result<Option<Self>> {
        match env::var_os(variable).filter(|path| !path.is_empty()) {
            Some(path) => Self::of_variable(&path, variable).map(Some),
            None => Ok(None),
        }
    }

    /// The first program in PATH with this name, of any version.
    ///
    /// # Errors
    /// When the program does not run.
    pub fn in_path(name: &str) -> Result<Option<Self>> {
        let Some(file) = find(name, &env::var_os("PATH").unwrap_or_default()) else {
            return Ok(None);
        };
        let version = version(&file)?;
        let why = format!("{} ({version}, from PATH)", file.display());
        Ok(Some(Self { path: file, why }))
    }

    fn of_variable(path: &OsStr, variable: &str) -> Result<Self> {
        // A bare name stays as given: execvp(3) searches PATH for it, as a shell does.
        let path = match Path::new(path) {
            name if name.components().count() == 1 => name.to_owned(),
            path => absolute(path.to_owned()),
        };
        let version = version(&path).with_context(|| format!("{variable} cannot be used"))?;
        let why = format!("{} ({version}, from {variable})", path.display());
        Ok(Self { path, why })
    }
}

/// The first file with this name in the folders of `path`.
pub fn find(name: &str, path: &OsStr) -> Option<PathBuf> {
    env::split_paths(path)
        .map(|dir| absolute(dir.join(name)))
        .find(|file| file.is_file())
}

/// The output of `program --version`, without white space at its ends.
///
/// # Errors
/// When the program cannot be run.
pub fn version(program: &Path) -> Result<String> {
    let mut command = Command::new(program);
    // Codex makes its home for any command, and in this place it cannot.
    command.arg("--version").env("CODEX_HOME", "/dev/null");
    Ok(output(&mut command)?.trim().to_owned())
}

/// Whether the file can be read, and is an ELF program and not a script.
pub fn is_native(file: &Path) -> bool {
    let mut magic = [0; 4];
    let read = File::open(file).and_then(|mut file| file.read_exact(&mut magic));
    read.is_ok() && magic == *b"\x7fELF"
}

/// Makes `path` absolute, from the current directory.
pub fn absolute(path: PathBuf) -> PathBuf {
    // Fails only for an empty path or without a current directory; the caller's error then names the path as given.
    std::path::absolute(&path).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::write_program;

    #[test]
    fn a_named_program_of_any_version_is_chosen_if_it_runs() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("codex");
        write_program(&file, "#!/bin/sh\necho codex-cli 0.42.0").unwrap();
        let chosen = Program::of_variable(file.as_os_str(), "CODEX_BIN").unwrap();
        assert!(
            chosen.why.contains("codex-cli 0.42.0, from CODEX_BIN"),
            "{}",
            chosen.why
        );
        let missing = dir.path().join("missing");
        let error = Program::of_variable(missing.as_os_str(), "CODEX_BIN").unwrap_err();
        assert_eq!(error.to_string(), "CODEX_BIN cannot be used");
    }

    #[test]
    fn first_file_of_the_search_path_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let folders = [dir.path().join("a"), dir.path().join("b")];
        let path = env::join_paths(&folders).unwrap();
        assert_eq!(find("codex", &path), None);
        std::fs::create_dir(&folders[1]).unwrap();
        std::fs::write(folders[1].join("codex"), "#!/bin/sh\n").unwrap();
        let found = find("codex", &path).unwrap();
        assert_eq!(found, folders[1].join("codex"));
        assert!(!is_native(&found));
        assert!(is_native(&env::current_exe().unwrap()));
    }
}
