//! Threads that stay loaded for the next request of their conversation.

mod continuation;
mod conversation;
mod equality;
mod limits;
mod rebuilt;
mod tool_calls;
