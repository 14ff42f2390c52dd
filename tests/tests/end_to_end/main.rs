//! The whole chain: real clients, the real Envoy with the filter, the real sidecar, the real Codex, the scripted model.

mod browser;
mod chain;
mod clients;
mod curl;
mod docs;
mod drain;
mod llm_comply;
mod readme;
mod responses;
mod restart;
mod stack;
mod status_page;
mod traffic;
mod up;
mod usage;
