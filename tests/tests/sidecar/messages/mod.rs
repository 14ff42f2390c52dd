//! `/v1/messages`, `/v1/messages/count_tokens`, and the models in Anthropic's shape.

mod answers;
mod conversations;
mod errors;
mod fixture;
mod models;
