//! The sidecar binary with a real Codex behind it and the scripted model behind that, spoken to as Envoy speaks to it.

mod agent;
mod chats;
mod errors;
mod lifecycle;
mod models;
mod operator;
mod proto;
mod responses;
mod stack;
