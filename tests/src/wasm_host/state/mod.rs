//! What the VMs of a host share.

mod clock;
mod metrics;
mod shared_data;
mod world;

pub use clock::Clock;
pub use metrics::Metrics;
pub use shared_data::SharedData;
pub(super) use world::{Rules, Settings, World};
