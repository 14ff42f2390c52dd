//! A new Debian in a folder, made by debootstrap, which needs root; and programs of this machine for it.

use std::path::{Path, PathBuf};
use std::process::Command;

use xtask::command::output;

/// Release of the Debian that is made; the images of the Dockerfile have the same.
pub const RELEASE: &str = "bookworm";

/// The variable with dpkg's defaults, and `unsafe-io`: a folder that is removed soon need not be written to the disk.
pub const DPKG_FORCE: (&str, &str) = ("DPKG_FORCE", "security-mac,downgrade,unsafe-io");

/// Makes the folder `root` with the essential packages, apt, and `packages`.
///
/// # Panics
/// When this user may not, or a package cannot be fetched.
pub fn debootstrap(root: &Path, packages: &[&str]) {
    let mut command = Command::new("debootstrap");
    command
        .arg("--variant=minbase")
        .env(DPKG_FORCE.0, DPKG_FORCE.1);
    if !packages.is_empty() {
        command.arg(format!("--include={}", packages.join(",")));
    }
    output(command.arg(RELEASE).arg(root))
        .unwrap_or_else(|error| panic!("{error:#}\n(apt-get install debootstrap)"));
}

/// The file of a program of this machine, behind links.
///
/// # Panics
/// When it is not in `PATH`.
pub fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find_map(|file| file.canonicalize().ok())
        .unwrap_or_else(|| panic!("{name} is not installed"))
}
