//! Cross-origin requests (CORS).

mod origin;
mod policy;

pub use origin::OriginPattern;
pub use policy::{Change, Cors, Policy, is_preflight};
