//! The programs of a release, linked statically so that they run on every Linux of their architecture.
//! glibc and not musl: the sidecar's settings of malloc are glibc's. The programs look up hosts in `/etc/hosts` and by DNS,
//! which glibc has in itself since 2.34, and no users by name, for which a static glibc would load libraries.

use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use codex_edge::report;

use crate::command::{cargo, output, run};
use crate::{build, workspace};

/// The programs and the packages of each. Each is built alone, so that it has no features that another needs.
const PROGRAMS: &[(&str, &str)] = &[
    ("codex-edge", "codex-edge"),
    ("sidecar", "sidecar"),
    ("scripted-model", "tests"),
];

/// A target of the compiler.
#[derive(Debug)]
pub(super) struct LinuxTarget {
    pub(super) name: String,
    /// The linker, if the architecture is not that of this machine.
    cross_linker: Option<String>,
}

impl LinuxTarget {
    /// The target with this processor architecture.
    pub(super) fn of(arch: &str) -> Self {
        let cross_linker = format!("{}-linux-gnu-gcc", arch.replace('_', "-"));
        Self {
            name: format!("{arch}-unknown-linux-gnu"),
            cross_linker: (arch != ARCH).then_some(cross_linker),
        }
    }

    /// The name of a variable of cargo for this target.
    fn variable(&self, field: &str) -> String {
        let target = self.name.to_uppercase().replace('-', "_");
        format!("CARGO_TARGET_{target}_{field}")
    }
}

/// Builds the programs as they are released, and returns their paths.
pub(super) fn build_static(target: &LinuxTarget) -> Result<Vec<PathBuf>> {
    build::add_target(&target.name)?;
    for (name, package) in PROGRAMS {
        report!("building {name}");
        // Without default features, the package of the scripted model has no wasm engine.
        let mut build = cargo(&[
            "build",
            "--locked",
            "--profile=dist",
            "--no-default-features",
        ]);
        build.args([
            "--target",
            &target.name,
            "--package",
            package,
            "--bin",
            name,
        ]);
        // With an explicit target, the flags are not those of build scripts and macros, which must be dynamic.
        build.env(
            target.variable("RUSTFLAGS"),
            "-C target-feature=+crt-static",
        );
        if let Some(linker) = &target.cross_linker {
            build.env(target.variable("LINKER"), linker);
        }
        run(&mut build)?;
    }
    let programs = paths(&workspace::target_dir().join(&target.name).join("dist"));
    for program in &programs {
        ensure_static(program)?;
    }
    Ok(programs)
}

/// Builds the programs as the tests do, which have built most of their parts, and removes what a debugger needs: three
/// quarters of each.
pub(super) fn build_debug() -> Result<Vec<PathBuf>> {
    build::programs_of_tests()?;
    let stripped = workspace::target_dir().join("debug/dist");
    fs::create_dir_all(&stripped)?;
    let programs = paths(&stripped);
    for (built, program) in paths(&workspace::target_dir().join("debug"))
        .iter()
        .zip(&programs)
    {
        let mut strip = Command::new("strip");
        strip.arg("--strip-debug").arg("-o").args([program, built]);
        run(&mut strip)?;
    }
    Ok(programs)
}

fn paths(folder: &Path) -> Vec<PathBuf> {
    PROGRAMS.iter().map(|(name, _)| folder.join(name)).collect()
}

/// Fails for a program that a dynamic linker starts.
fn ensure_static(program: &Path) -> Result<()> {
    let mut readelf = Command::new("readelf");
    let headers = output(readelf.arg("--program-headers").arg(program))?;
    ensure!(
        !headers.contains("INTERP"),
        "{} needs a dynamic linker",
        program.display()
    );
    Ok(())
}
