//! The Responses API through the whole chain, with the clients that are strictest about it, among them Codex.

mod clients;
mod codex;
mod program;
