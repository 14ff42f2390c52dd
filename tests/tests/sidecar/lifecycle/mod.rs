//! Start, drain and end of the sidecar, its workers, and the stages of a turn at which each may happen.

mod limits;
mod log_reader;
mod memory;
mod orphans;
mod shutdown;
mod turn_stages;
mod unresponsive_child;
pub(crate) mod workers;
