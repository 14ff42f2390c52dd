//! The state that the VMs of a host share.

mod clock;
mod host_state;
mod metrics;
mod shared_data;

pub use clock::Clock;
pub(super) use host_state::{HostState, Settings, StreamRules};
pub use metrics::Metrics;
pub use shared_data::SharedData;
