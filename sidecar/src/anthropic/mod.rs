//! The wire format of Anthropic's Messages API: bytes of a request -> a turn, events of a turn -> bytes of a response.
//! No IO. Shapes follow Anthropic's API reference and the types of its Python SDK 2.15; the parts that do not depend on the
//! format, such as the checks of tools, images and schemas, are those of `openai`.

mod error;
pub mod models;
mod request;
mod response;

pub use error::{error_body, prompt_too_long, status};
pub use request::{MessageSpec, count_tokens, parse};
pub use response::{MessageWriter, collect};
