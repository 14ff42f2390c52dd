//! The wire format of OpenAI: bytes of a request -> a turn, events of a turn -> bytes of a response. No IO.
//! Shapes follow the OpenAI API reference. Each group of routes has a module; `request` and `response` are shared.

pub mod chat;
pub mod completions;
pub mod models;
pub(crate) mod request;
pub(crate) mod response;
pub mod responses;
pub mod usage;

pub use request::ignored::IgnoredFields;
pub use request::image::{check_image_data, check_image_limits};
pub use response::budget::LimitBody;
pub(crate) use response::chunk::finish_reason;
pub use response::delivery::Delivery;
pub use response::error::{ApiError, Retry};
pub use response::options::ResponseOptions;
pub use response::sse::{EventFrames, event_stream};
