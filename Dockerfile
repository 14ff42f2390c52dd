# The images of docker-compose.yml. Versions are those that the tests run with.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN rustup target add wasm32-wasip1 \
 && cargo build --locked --profile wasm --package filter --target wasm32-wasip1 \
 && cargo build --locked --release --package sidecar \
 && cargo build --locked --release --package tests --no-default-features --bin scripted-model

FROM envoyproxy/envoy:v1.40.0 AS envoy
COPY envoy/envoy.yaml envoy/filter.yaml /etc/codex-edge/
COPY --from=build /src/target/wasm32-wasip1/wasm/filter.wasm /etc/codex-edge/filter.wasm
# A volume takes over owner and mode of the folder that it is mounted on first.
RUN install --directory --owner=10001 --group=10001 --mode=0770 /run/codex-edge
USER 10001:10001
ENTRYPOINT ["envoy"]

FROM node:20-bookworm-slim AS codex
RUN npm install --global @openai/codex@0.169.0

FROM debian:bookworm-slim AS sidecar
RUN apt-get update \
 && apt-get install --yes --no-install-recommends bubblewrap ca-certificates curl \
 && rm -rf /var/lib/apt/lists/* \
 && install --directory --owner=10001 --group=10001 --mode=0770 /run/codex-edge \
 && install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/codex-edge
# The package's own binary, so that no Node runs beside it.
COPY --from=codex /usr/local/lib/node_modules/@openai/codex/node_modules/@openai/ /opt/codex/
RUN ln -s /opt/codex/codex-linux-*/vendor/*/bin/codex /usr/local/bin/codex
COPY --from=build /src/target/release/sidecar /usr/local/bin/sidecar
# What CODEX_FORCE_PROVIDER=demo names; without that it is not used.
RUN printf '%s\n' '[model_providers.demo]' 'name = "demo"' 'base_url = "http://127.0.0.1:8080/v1"' 'wire_api = "responses"' \
    > /var/lib/codex-edge/config.toml \
 && chown 10001:10001 /var/lib/codex-edge/config.toml
ENV CODEX_HOME=/var/lib/codex-edge HOME=/tmp
USER 10001:10001
ENTRYPOINT ["sidecar"]

FROM debian:bookworm-slim AS model
COPY --from=build /src/target/release/scripted-model /usr/local/bin/scripted-model
USER 10001:10001
ENTRYPOINT ["scripted-model"]
