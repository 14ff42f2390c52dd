//! The model catalogue, the models that a client may use, and their reasoning efforts.

mod catalogue;
mod effort;
mod patterns;

pub use catalogue::Catalogue;
pub use effort::EffortRule;
use patterns::normal_id;
pub use patterns::{ModelPattern, ModelPatterns};
