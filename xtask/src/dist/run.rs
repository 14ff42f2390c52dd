//! The files of a release, in the order in which they are made.

use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use codex_edge::report;

use super::archive::{self, gzip};
use super::bundle::Bundle;
use super::file::{VERSION, read, write};
use super::images::{Image, write_images};
use super::programs::{self, LinuxTarget};
use super::{sbom, sums, wheel};
use crate::image::write_layout;
use crate::{build, workspace};

/// The arguments of `cargo xtask dist`.
#[derive(Debug, Args)]
pub struct DistArgs {
    /// Folder of the release [default: dist in cargo's target folder]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Processor architecture of the programs; another one than this machine's needs its cross linker (on Debian, the
    /// package gcc-aarch64-linux-gnu or gcc-x86-64-linux-gnu)
    #[arg(long, default_value = ARCH, value_parser = ["x86_64", "aarch64"])]
    arch: String,
    /// Build of the programs
    #[arg(long, value_enum, default_value_t = ProgramBuild::Static)]
    programs: ProgramBuild,
    /// Leave out these files
    #[arg(long, value_enum, value_delimiter = ',', value_name = "FILES")]
    without: Vec<Files>,
    /// Images of the Dockerfile [default: all]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "IMAGES", default_values_t = Image::value_variants().to_vec(), hide_default_value = true)]
    images: Vec<Image>,
}

/// Files of a release that can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Files {
    /// The archive and the Python wheel
    Programs,
    /// The filter, and its image
    Filter,
    /// The images of the Dockerfile, which need a container engine
    Images,
}

/// A build of the programs.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum ProgramBuild {
    /// As released: optimised, and without a dynamic linker
    Static,
    /// Debug builds for this machine alone, to test the rest of a release without the optimised build
    Debug,
}

/// Builds the parts of a release, and writes its files into an empty folder.
///
/// # Errors
/// When a part does not compile, a program is not static, no container engine can be reached, or the folder cannot be
/// written.
pub fn dist(args: &DistArgs) -> Result<()> {
    let out = match &args.out {
        Some(dir) => workspace::absolute(dir.clone()),
        None => workspace::target_dir().join("dist"),
    };
    let has = |files| !args.without.contains(&files);
    ensure!(
        args.arch == ARCH || !has(Files::Images),
        "images are built for this machine's architecture only: add --without images"
    );
    empty(&out)?;
    if has(Files::Programs) || has(Files::Filter) {
        build::filter()?;
    }
    if has(Files::Programs) {
        write_programs(&out, args)?;
    }
    if has(Files::Filter) {
        write_filter(&out)?;
    }
    if has(Files::Images) {
        write_images(&out, &args.images)?;
    }
    sums::write(&out)?;
    report!("{}: version {VERSION} for {}", out.display(), args.arch);
    Ok(())
}

/// Writes the archive and the wheel with the programs, and the bill of their materials.
fn write_programs(out: &Path, args: &DistArgs) -> Result<()> {
    let target = LinuxTarget::of(&args.arch);
    let programs = match args.programs {
        ProgramBuild::Static => programs::build_static(&target)?,
        ProgramBuild::Debug => programs::build_debug()?,
    };
    let name = format!("codex-edge-{VERSION}-{}-linux", args.arch);
    let bill = sbom::of_programs(&target.name)?;
    let bundle = Bundle::read(&programs, bill.clone())?;
    archive::write(out, &name, &bundle)?;
    wheel::write(out, &args.arch, &bundle)?;
    write(&out.join(format!("{name}.cdx.json")), &bill)
}

/// Writes the module, its image layout as an archive, and the bill of its materials.
fn write_filter(out: &Path) -> Result<()> {
    let wasm = read(&workspace::filter_wasm())?;
    let name = format!("codex-edge-filter-{VERSION}");
    write(&out.join(format!("{name}.wasm")), &wasm)?;
    write(&out.join(format!("{name}.cdx.json")), &sbom::of_filter()?)?;
    let layout = out.join("filter-image");
    write_layout(&layout, &wasm)?;
    let archive = archive::of_folder(&layout)?;
    write(&out.join(format!("{name}.oci.tar.gz")), &gzip(&archive)?)?;
    fs::remove_dir_all(&layout)?;
    Ok(())
}

fn empty(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("cannot empty {}", dir.display()))?;
    }
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))
}
