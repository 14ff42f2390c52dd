//! The programs of a release, linked statically so that they run on every Linux of their architecture.
//! glibc and not musl: the sidecar's settings of malloc are glibc's. The programs look up neither hosts nor users by name,
//! for which a static glibc would load libraries.

use std::env::consts::ARCH;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use crate::command::{cargo, output, run};
use crate::{build, workspace};

/// The programs and the arguments of the build of each. Each is built alone, so that it has no features that another needs.
const PROGRAMS: &[(&str, &[&str])] = &[
    ("codex-edge", &["--package=codex-edge"]),
    ("sidecar", &["--package=sidecar"]),
    (
        "scripted-model",
        &["--package=tests", "--no-default-features"],
    ),
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

/// Builds the programs, and returns their paths.
pub(super) fn build(target: &LinuxTarget, profile: &str) -> Result<Vec<PathBuf>> {
    build::add_target(&target.name)?;
    // Cargo's profile `dev` has the folder `debug`.
    let folder = if profile == "dev" { "debug" } else { profile };
    let folder = workspace::target_dir().join(&target.name).join(folder);
    let mut programs = Vec::new();
    for (name, package) in PROGRAMS {
        eprintln!("building {name}");
        let mut build = cargo(&["build", "--locked", "--target", &target.name]);
        build.args(["--profile", profile, "--bin", name]);
        // With an explicit target, the flags are not those of build scripts and macros, which must be dynamic.
        build.env(
            target.variable("RUSTFLAGS"),
            "-C target-feature=+crt-static",
        );
        if let Some(linker) = &target.cross_linker {
            build.env(target.variable("LINKER"), linker);
        }
        run(build.args(*package))?;
        let program = folder.join(name);
        ensure_static(&program)?;
        programs.push(program);
    }
    Ok(programs)
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
