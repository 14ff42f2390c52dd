//! What clients speak: bytes of a request -> a turn, events of a turn -> bytes of an answer.
//! The OpenAI API reference is the authority on shapes; each dialect has a file, and all share errors and streams.

pub mod chat;
pub mod completions;
pub mod models;
mod request;
mod response;
pub mod responses;
pub mod usage;

pub use request::body::Ignored;
pub use response::delivery::Delivery;
pub use response::error::{ApiError, Retry};
pub use response::options::Reply;
pub(crate) use response::options::finish_reason;
pub use response::sse::{EventFrames, event_stream};
