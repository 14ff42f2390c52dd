//! Digests of a conversation, by which a later request of the same conversation is recognised.
//!
//! The digest of each prefix covers the settings of the thread and the items so far, so that two requests with one digest
//! have the same beginning. Items of reasoning are not in it: a chat has no field for them. SHA-256, since a client
//! chooses the texts.

mod answer;
mod compute;
mod digests;
mod hasher;

pub use answer::{AnswerItem, end_of_answer, reasoning_places};
pub use digests::{ConversationDigest, Digest, ReasoningPlace};
