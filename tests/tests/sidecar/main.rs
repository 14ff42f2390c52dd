//! Tests of the sidecar binary over its socket, as Envoy connects to it. Codex is real; the model service is scripted.

mod agent;
mod agent_limits;
mod body_memory;
mod budgets;
mod chats;
mod encoded_bodies;
mod error_words;
mod errors;
mod images;
mod lifecycle;
mod login;
mod messages;
mod models;
mod operator;
mod plain_home;
mod proto;
mod refusals;
mod responses;
mod stack;
mod threads;
mod tracing;
