//! The login that pays for the turns: its kind, its renewal and its replacement. Codex is real; OpenAI's login services are
//! scripted.

pub(crate) mod home;
mod kinds;
mod renewal;
mod service;
