//! Handlers, one file per resource: a request to its response.

pub(super) mod chat;
mod check_images;
pub(super) mod completions;
pub(super) mod health;
pub(super) mod messages;
pub(super) mod models;
mod parse_body;
mod reply;
pub(super) mod responses;
mod sync_references;
pub(super) mod usage;
