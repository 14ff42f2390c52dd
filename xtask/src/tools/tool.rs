//! Names, versions and archives of the pinned tools.

use std::env::consts::ARCH;

use anyhow::{Context, Result};

use super::pins::{PINS, Pin, Tool};

impl Tool {
    /// Every tool.
    pub const ALL: [Self; 10] = [
        Self::Envoy,
        Self::EnvoyOldest,
        Self::Codex,
        Self::CodexOldest,
        Self::CodexProto,
        Self::CargoDeny,
        Self::Traefik,
        Self::Compose,
        Self::Hadolint,
        Self::Zizmor,
    ];

    /// The name of the tool's link in `.tools/bin`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Envoy => "envoy",
            Self::EnvoyOldest => "envoy-oldest",
            Self::Codex => "codex",
            Self::CodexOldest => "codex-oldest",
            Self::CodexProto => "codex-proto",
            Self::CargoDeny => "cargo-deny",
            Self::Traefik => "traefik",
            Self::Compose => "docker-compose",
            Self::Hadolint => "hadolint",
            Self::Zizmor => "zizmor",
        }
    }

    /// Whether the version is an old one on purpose, which a newer release does not replace.
    pub(super) fn is_held_back(self) -> bool {
        matches!(
            self,
            Self::EnvoyOldest | Self::CodexOldest | Self::CodexProto
        )
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
