//! The compiled filter, built once for all tests of a run.
//! Follows `.cargo/config.toml`, the profile `wasm` in the workspace's `Cargo.toml`, and `xtask::build`.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use xtask::{build, command, workspace};

/// A form of the compiled filter. Both must behave alike; they differ in the callbacks that the host finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterBuild {
    /// As it ships: with the callbacks that it implements.
    Shipped,
    /// As cargo builds it: with every callback of the SDK.
    Cargo,
}

impl FilterBuild {
    /// Both forms.
    pub const ALL: [Self; 2] = [Self::Shipped, Self::Cargo];

    /// Builds the filter if it is not up to date, and returns the path of its module.
    pub fn path(self) -> &'static Path {
        static MODULES: OnceLock<[PathBuf; 2]> = OnceLock::new();
        let [shipped, built] = MODULES.get_or_init(build_filter);
        match self {
            Self::Shipped => shipped,
            Self::Cargo => built,
        }
    }
}

/// Builds the filter if it is not up to date, and returns the path of the shipped module.
pub fn filter_wasm() -> &'static Path {
    FilterBuild::Shipped.path()
}

fn build_filter() -> [PathBuf; 2] {
    command::run(build::filter_build().arg("--quiet")).expect("the filter compiles");
    build::ship_filter().expect("the filter has its callbacks");
    [workspace::filter_wasm(), workspace::built_filter_wasm()]
}
