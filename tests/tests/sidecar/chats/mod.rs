//! `/v1/chat/completions` and `/v1/completions`.

mod chat;
pub(crate) mod completions;
mod empty_answers;
mod ignored_fields;
mod other_dialects;
mod slow_reader;
mod stream_heads;
mod tool_block_truncation;
mod tool_schemas;
mod tools;
mod whole_messages;
