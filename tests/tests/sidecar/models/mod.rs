//! The models that Codex lists: `/v1/models`, and requests for each of them.

mod list;
mod requests;
