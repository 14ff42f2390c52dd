//! The sidecar binary with a real Codex behind it and the scripted model behind that, spoken to as Envoy speaks to it.

mod admin;
mod agent;
mod chat;
mod check;
mod completions;
mod configuration;
mod deaf;
mod errors;
mod life;
mod limits;
mod logs;
mod models;
mod proto;
mod responses;
mod stack;
mod stages;
mod tails;
mod tools;
mod usage;
mod workers;
