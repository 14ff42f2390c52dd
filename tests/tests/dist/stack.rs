//! The command of an installed `codex-edge`, in an environment without a toolchain.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tests::up::up_command;
use tokio::process::Command;

use crate::release::{Release, codex};

/// A user of the wheel: a home, a temporary folder, and a `PATH` with the wheel's commands and Codex alone.
#[derive(Debug)]
pub(crate) struct User {
    folder: TempDir,
}

impl User {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().expect("the temporary folder can be written");
        for name in ["home", "tmp", "bin"] {
            fs::create_dir(folder.path().join(name)).expect("the folder is writable");
        }
        symlink(codex(), folder.path().join("bin/codex")).expect("the folder is writable");
        Self { folder }
    }

    /// A user without Codex.
    pub(crate) fn without_codex() -> Self {
        let user = Self::new();
        fs::remove_file(user.folder.path().join("bin/codex")).expect("the link was made");
        user
    }

    /// The command `codex-edge` with `arguments`.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(arguments);
        self.environment(&mut command);
        command
    }

    /// The command `codex-edge up --demo`.
    pub(crate) fn up(&self, port: u16) -> Command {
        let mut command = up_command(program(), &[], port, &self.temp());
        self.environment(&mut command);
        command
    }

    /// The user's temporary folder.
    pub(crate) fn temp(&self) -> PathBuf {
        self.folder.path().join("tmp")
    }

    /// The names of the files in the user's home.
    pub(crate) fn home_files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path().join("home")).expect("the home exists");
        let names = entries.map(|entry| entry.expect("the home is readable").file_name());
        names
            .map(|name| name.to_string_lossy().into_owned())
            .collect()
    }

    fn environment(&self, command: &mut Command) {
        let folder = self.folder.path();
        let commands = Release::get().environment().join("bin");
        let path = std::env::join_paths([commands, folder.join("bin")]);
        command
            .env("HOME", folder.join("home"))
            .env("TMPDIR", self.temp())
            .env("PATH", path.expect("no folder has a colon"))
            .env_remove("CODEX_BIN")
            .env_remove("CODEX_HOME")
            .env_remove("ENVOY_BIN");
    }
}

fn program() -> PathBuf {
    Release::get().environment().join("bin/codex-edge")
}

/// Whether a process runs a program of this folder.
pub(crate) fn runs_from(pid: i32, folder: &Path) -> bool {
    let exe = fs::read_link(format!("/proc/{pid}/exe"));
    exe.is_ok_and(|exe| exe.starts_with(folder))
}
