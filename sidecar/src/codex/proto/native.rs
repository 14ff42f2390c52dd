//! The native program behind `CODEX_BIN`: a child that may start no other program must not be a script.
//! The layout is that of the npm package `@openai/codex` up to 0.42; ELF is the System V ABI's.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The native program that `binary` is, or that it starts; a bare name is looked up in `search`, as execvp(3) does.
///
/// # Errors
/// There is none, or none that is known.
pub(in crate::codex) fn resolve(binary: &Path, search: Option<&OsStr>) -> io::Result<PathBuf> {
    let file = find(binary, search)?.canonicalize()?;
    if is_native(&file)? {
        return Ok(file);
    }
    let behind = vendored(&file).filter(|program| is_native(program).unwrap_or(false));
    behind.ok_or_else(|| {
        let file = file.display();
        io::Error::other(format!("{file} is a script; name the program behind it"))
    })
}

fn find(binary: &Path, search: Option<&OsStr>) -> io::Result<PathBuf> {
    if binary.is_absolute() || binary.components().count() > 1 {
        return Ok(binary.to_owned());
    }
    let mut folders = std::env::split_paths(search.unwrap_or_default());
    let found = folders.find_map(|folder| Some(folder.join(binary)).filter(|file| file.is_file()));
    found.ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Where npm's launcher, `bin/codex.js`, finds the program for this machine.
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
    fn a_launcher_stands_for_the_program_that_it_starts() {
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
