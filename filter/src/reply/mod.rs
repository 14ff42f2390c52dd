//! The filter's own responses, and the reasons of its rejections.

mod local_reply;
mod rejection;

pub use local_reply::LocalReply;
pub use rejection::{ErrorSpec, RejectReason};
