# The images of docker-compose.yml. tests/tests/compose checks that the versions are those of the tests, and runs the
# commands of this file; tests/tests/containers builds and runs the images. Needs BuildKit.

# The base images. A build argument replaces one, for a registry of your own: --build-arg DEBIAN_IMAGE=...
ARG RUST_IMAGE=rust:1.95.0-bookworm@sha256:6258907abe69656e41cd992e0b705cdcfabcbbe3db374f92ed2d47121282d4a1
ARG NODE_IMAGE=node:22.22.0-bookworm-slim@sha256:dd9d21971ec4395903fa6143c2b9267d048ae01ca6d3ea96f16cb30df6187d94
# The tag is an exact version. The digest was not available when this was written.
ARG ENVOY_IMAGE=envoyproxy/envoy:v1.40.0
ARG DEBIAN_IMAGE=debian:bookworm-slim@sha256:7b140f374b289a7c2befc338f42ebe6441b7ea838a042bbd5acbfca6ec875818

FROM ${RUST_IMAGE} AS build
WORKDIR /src
# A layer of its own, because the toolchain changes less often than the code.
COPY rust-toolchain.toml ./
RUN rustup toolchain install
COPY . .
ARG CARGO_PROFILE_RELEASE_LTO=thin
ENV CARGO_TARGET_DIR=/target
RUN --mount=type=cache,id=codex-edge-registry,target=/usr/local/cargo/registry \
    --mount=type=cache,id=codex-edge-target,target=/target \
    cargo build --locked --release --package sidecar \
 && cargo build --locked --release --package tests --no-default-features --bin scripted-model \
 && cargo run --locked --release --package xtask -- filter --out /out/filter.wasm \
 && install -D --target-directory=/out /target/release/sidecar /target/release/scripted-model

# The same archives and checksums as in xtask/src/tools/pins.rs. Codex's voice files are not needed.
FROM ${NODE_IMAGE} AS codex
ARG TARGETARCH
WORKDIR /codex
RUN case "$TARGETARCH" in \
      amd64) platform=linux-x64 sum=e13d67afb0533cc6160b5f4140e4ad07e2acd87adbaa081bbf69b82e90cf4e55 ;; \
      arm64) platform=linux-arm64 sum=26ae27788c7d962ae64321aba4673f918b99b40c4655246930bf962fa5b81b01 ;; \
      *) echo "no Codex is pinned for '$TARGETARCH'" >&2; exit 1 ;; \
    esac \
 && npm pack --loglevel=error "@openai/codex@0.171.0-$platform" \
 && echo "$sum  openai-codex-0.171.0-$platform.tgz" > sums \
 && sha256sum --check sums \
 && tar --extract --gzip --file="openai-codex-0.171.0-$platform.tgz" --no-same-owner --strip-components=3 \
      --exclude='*/voice' --wildcards 'package/vendor/*' \
 && rm sums "openai-codex-0.171.0-$platform.tgz"

FROM ${ENVOY_IMAGE} AS envoy
# curl sends the requests of the drain and of the health check to Unix sockets. DL3008 wants pinned versions, but Debian and
# Ubuntu keep only the latest version of a package.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends curl \
 && rm -rf /var/lib/apt/lists/* \
 # A new volume takes owner and mode from the folder on which it is first mounted.
 && install --directory --owner=10001 --group=10001 --mode=0770 /run/codex-edge
COPY deploy/docker/envoy.sh /usr/local/bin/codex-edge-envoy
COPY deploy/systemd/drain.sh /usr/local/lib/codex-edge/drain.sh
COPY envoy/envoy.yaml envoy/filter.yaml deploy/docker/admin.yaml /etc/codex-edge/
COPY --from=build /out/filter.wasm /etc/codex-edge/filter.wasm
USER 10001:10001
ENTRYPOINT ["codex-edge-envoy"]
CMD ["--config-path", "/etc/codex-edge/envoy.yaml", "--reject-unknown-dynamic-fields", "--disable-hot-restart"]

FROM ${DEBIAN_IMAGE} AS sidecar
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends bubblewrap ca-certificates curl \
 && rm -rf /var/lib/apt/lists/* \
 && install --directory --owner=10001 --group=10001 --mode=0770 /run/codex-edge \
 && install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/codex-edge
# Codex finds its helper programs beside its binary, so the image needs no Node.
COPY --from=codex /codex /opt/codex
RUN ln -s /opt/codex/bin/codex /usr/local/bin/codex
COPY --from=build /out/sidecar /usr/local/bin/sidecar
ENV CODEX_HOME=/var/lib/codex-edge \
    SIDECAR_ADMIN_LISTEN=unix:/run/codex-edge/sidecar-admin.sock \
    HOME=/tmp
USER 10001:10001
# A stream needs two descriptors, and an engine may start with 1024: raises the soft limit as far as the hard one allows.
ENTRYPOINT ["sh", "-c", "ulimit -S -n \"${NOFILE:-65536}\" 2>/dev/null || ulimit -S -n \"$(ulimit -H -n)\"; exec sidecar \"$@\"", "sidecar"]

# Uses the scripted model as the provider.
FROM sidecar AS sidecar-demo
COPY --chown=10001:10001 deploy/demo/config.toml /var/lib/codex-edge/config.toml
CMD ["--codex-force-provider", "demo"]

FROM ${DEBIAN_IMAGE} AS model
COPY --from=build /out/scripted-model /usr/local/bin/scripted-model
USER 10001:10001
ENTRYPOINT ["scripted-model"]
CMD ["--listen", "0.0.0.0:8080", "--allow-remote"]
