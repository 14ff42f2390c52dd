//! Start, drain and end of the sidecar, its workers, and the stages of a turn at which each may happen.

mod deaf;
mod life;
mod limits;
mod stages;
pub(crate) mod workers;
