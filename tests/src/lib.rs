//! Real peers for the tests of codex-edge, started and stopped by them, and the only stand-in: the scripted model.
//! The suites in `tests/` and the binaries in `src/bin/` use them.

pub mod browser;
pub mod chaos;
pub mod codex;
pub mod collector;
pub mod cut;
pub mod debian;
pub mod envoy;
pub mod filter_wasm;
pub mod http;
pub mod nginx;
pub mod processes;
pub mod prometheus;
#[cfg(feature = "rate-limit")]
pub mod rate_limit;
pub mod redis;
pub mod scripted_model;
pub mod sidecar;
pub mod soak;
pub mod sse;
pub mod traefik;
pub mod up;
pub mod upstream;
#[cfg(feature = "wasm-host")]
pub mod wasm_host;
