//! Cross-origin requests (CORS).

mod origin;
mod policy;

pub use origin::OriginPattern;
pub use policy::{Cors, CorsPolicy, is_preflight};
