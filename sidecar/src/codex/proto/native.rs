//! The native program behind `CODEX_BIN`. A confined child cannot start other programs, so that it cannot be a script.
//! The layout is that of the npm package `@openai/codex` up to 0.42; ELF is the System V ABI's.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Returns the path of `binary` if it is a native program, or of the program that npm's launcher starts. A bare name is
/// looked up in `search`, as execvp(3) does.
///
/// # Errors
/// The file does not exist, or is a script without a known program behind it.
pub(in crate::codex) fn resolve(binary: &Path, search: Option<&OsStr>) -> io::Result<PathBuf> {
    // Canonical: npm installs the launcher as a link, and the package is beside its target.
    let file = find(binary, search)?.canonicalize()?;
    if is_native(&file)? {
        return Ok(file);
    }
    vendored(&file)
        .filter(|program| is_native(program).unwrap_or(false))
        .ok_or_else(|| {
            let file = file.display();
            io::Error::other(format!("{file} is a script; name the program behind it"))
        })
}

fn find(binary: &Path, search: Option<&OsStr>) -> io::Result<PathBuf> {
    // As execvp(3): a name with a slash is a path.
    if binary.is_absolute() || binary.components().count() > 1 {
        return Ok(binary.to_owned());
    }
    std::env::split_paths(search.unwrap_or_default())
        .map(|folder| folder.join(binary))
        .find(|file| file.is_file())
        .ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Returns the path at which npm's launcher, `bin/codex.js`, finds the program for this machine.
fn vendored(launcher: &Path) -> Option<PathBuf> {
    let package = launcher.parent()?.parent()?;
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    Some(package.join("vendor").join(target).join("codex/codex"))
}

fn is_native(file: &Path) -> io::Result<bool> {
    let mut magic = Vec::new();
    File::open(file)?.take(4).read_to_end(&mut magic)?;
    Ok(magic == b"\x7fELF")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn npm_launcher_resolves_to_its_native_program() {
        let package = tempfile::tempdir().unwrap();
        let launcher = package.path().join("bin/codex.js");
        std::fs::create_dir_all(package.path().join("bin")).unwrap();
        std::fs::write(&launcher, "#!/usr/bin/env node\n").unwrap();
        let error = resolve(&launcher, None).unwrap_err();
        assert!(error.to_string().contains("is a script"), "{error}");
        let native = vendored(&launcher.canonicalize().unwrap()).unwrap();
        let folder = native.parent().unwrap();
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(&native, b"\x7fELF and more").unwrap();
        for binary in [&launcher, &native] {
            assert_eq!(resolve(binary, None).unwrap(), native);
        }
        let search = Some(folder.as_os_str());
        assert_eq!(resolve(Path::new("codex"), search).unwrap(), native);
        assert!(resolve(Path::new("missing"), search).is_err());
    }
}
