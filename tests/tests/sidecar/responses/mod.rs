//! `/v1/responses`: requests, streams, and the state that is stored for later requests.
//! OpenAI API reference, "Responses".

mod archive;
mod client;
mod create;
mod events;
mod phase;
mod rejections;
mod state;
