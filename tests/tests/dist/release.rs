//! The release under test: the steps of the workflow's job `build`, run once on this machine.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;
use xtask::command::output;
use xtask::tools::{Tool, Tools};
use xtask::workspace;

use crate::workflow::{jobs, steps};

/// The step that installs Codex for all users of the machine; the tests have the fetched Codex.
const INSTALLS_CODEX: &str = "Install Codex";

/// A built and installed release.
#[derive(Debug)]
pub(crate) struct Release {
    folder: TempDir,
}

impl Release {
    /// Runs the steps of the job `build`, at the first call of a process.
    pub(crate) fn get() -> &'static Self {
        static RELEASE: OnceLock<Release> = OnceLock::new();
        RELEASE.get_or_init(Self::build)
    }

    fn build() -> Self {
        let release = Self {
            folder: TempDir::new().expect("the temporary folder can be written"),
        };
        let jobs = jobs();
        let scripts: Vec<_> = steps(&jobs["build"])
            .filter(|step| step["name"] != INSTALLS_CODEX)
            .filter_map(|step| step["run"].as_str())
            .collect();
        assert!(scripts.len() >= 4, "{scripts:?}");
        for script in scripts {
            release.run(script);
        }
        release
    }

    /// Runs a step as the host of the repository does, with the folders of this test.
    fn run(&self, script: &str) {
        let mut bash = Command::new("bash");
        bash.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", script])
            .current_dir(workspace::root())
            .env("DIST", self.dist())
            .env("TRY", self.environment())
            .env("PROGRAMS", "debug")
            .env("CODEX_BIN", codex())
            .env("TMPDIR", self.folder.path());
        output(&mut bash).unwrap_or_else(|error| panic!("{error}"));
    }

    /// The folder of the files.
    pub(crate) fn dist(&self) -> PathBuf {
        self.folder.path().join("dist")
    }

    /// The Python environment with the installed wheel.
    pub(crate) fn environment(&self) -> PathBuf {
        self.folder.path().join("try")
    }

    /// The only file with a name that ends so.
    pub(crate) fn file(&self, end: &str) -> PathBuf {
        let found: Vec<_> = std::fs::read_dir(self.dist())
            .expect("the release was built")
            .map(|entry| entry.expect("the folder is readable").path())
            .filter(|path| path.to_string_lossy().ends_with(end))
            .collect();
        let [file] = &found[..] else {
            panic!("{end}: {found:?}");
        };
        file.clone()
    }
}

/// The fetched Codex.
pub(crate) fn codex() -> PathBuf {
    let codex = Tools::open().executable(Tool::Codex);
    codex.expect("Codex was fetched: `cargo xtask fetch`")
}

/// Reads a JSON file.
pub(crate) fn json(path: &Path) -> Value {
    let text = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
