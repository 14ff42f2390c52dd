//! Conversations that have lost their thread: it is rebuilt under the conversation's own id, so that the provider's prompt
//! cache still has the beginning of the conversation.
//!
//! Codex sends the session id of a thread as `prompt_cache_key`, and chooses it itself in `thread/start`. `thread/resume`
//! takes it from the first line of a rollout file, which the sidecar writes: a file without a conversation. The items are
//! injected as into a new thread. The format is internal to Codex. A proof at the start of a child compares what the model
//! would be asked with what it is asked by a new thread; where the two differ, no thread is rebuilt.

mod child;
mod conversations;
mod id;
mod proof;
mod rollout;
mod secret;
mod template;
#[cfg(test)]
mod tests;

pub(in crate::codex) use child::ChildConversations;
pub(in crate::codex) use conversations::Conversations;
pub use conversations::RebuiltCounts;
pub(in crate::codex) use secret::ConversationSecret;
